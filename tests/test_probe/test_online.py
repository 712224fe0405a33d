"""k-NN while stage 1 runs: it is told, and training does not notice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from g2sd_mm.checkpoints import read_weights
from g2sd_mm.probe import measures
from g2sd_mm.probe.data import find_images
from g2sd_mm.probe.encoders import find_encoder
from g2sd_mm.probe.extract import extract
from g2sd_mm.runs.train import train

from ..helpers import imagenet
from ..helpers.toys import refused

CONFIG = imagenet.path('g2sd_vits_generic')


@pytest.fixture(scope='module')
def data(image_data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('G2SD_DATA', str(image_data))
        yield image_data / 'imagenet'


def options(**changes) -> dict:
    return imagenet.stage1(None, **{
        'distillation.teacher.random_weights': True, 'log_level': 'INFO',
        'reliability.dry_run': None, **changes,
    })  # fmt: skip


def figures(folder: Path) -> list[dict]:
    lines = next(folder.glob('*/vis_data/scalars.json')).read_text().splitlines()
    return [line for text in lines if 'knn/cls_top1' in (line := json.loads(text))]


def told(folder: Path) -> list[str]:
    lines = next(folder.glob('*/*.log')).read_text().splitlines()
    return [line for line in lines if 'k-NN of frozen features' in line and 'INFO' in line]


@pytest.fixture(scope='module')
def runs(data, tmp_path_factory) -> tuple[Path, Path]:
    """The same run without it and with it."""
    folders = tmp_path_factory.mktemp('plain'), tmp_path_factory.mktemp('watched')
    train(CONFIG, options(), str(folders[0]))
    train(CONFIG, options(**{'online_knn.interval': 1, 'online_knn.k': 5}), str(folders[1]))
    return folders


def test_training_is_the_same_to_the_last_bit(runs):
    plain, watched = (
        torch.load(next(folder.glob('epoch_2.pth')), weights_only=False) for folder in runs
    )
    for name, tensor in plain['state_dict'].items():
        assert torch.equal(tensor, watched['state_dict'][name]), name
    states = [checkpoint['optimizer']['state'] for checkpoint in (plain, watched)]
    assert all(
        torch.equal(states[0][i][key], states[1][i][key])
        for i in states[0] for key in ('exp_avg', 'exp_avg_sq')
    )  # fmt: skip
    logs = [
        [line['loss'] for text in next(folder.glob('*/vis_data/scalars.json')).open()
         if 'loss' in (line := json.loads(text))]
        for folder in runs
    ]  # fmt: skip
    assert logs[0] == logs[1] and logs[0]


def test_it_is_told_before_training_and_after_every_interval(runs):
    plain, watched = runs
    assert not told(plain) and not figures(plain)
    assert [line['step'] for line in figures(watched)] == [0, 1, 2]
    assert [f'epoch {done}:' in line for done, line in enumerate(told(watched))] == [True] * 3
    assert f'{figures(watched)[-1]["knn/cls_top1"]:.2f} %' in told(watched)[-1]


def test_the_figures_are_those_of_the_weights_afterwards(runs, data):
    encoder = find_encoder(str(runs[1] / 'weights.pth'), heads=2)
    assert read_weights(runs[1] / 'weights.pth').meta
    images = find_images(str(data))
    parts = images.train.first(20), images.val.first(5)
    (x, y) = (extract(encoder, part, 32, 0.875) for part in parts)
    for token in ('cls', 'mean'):
        found = measures.k_nearest(
            x.token(token), x.labels, y.token(token), y.labels, k=5, centred='train', classes=3
        )
        assert figures(runs[1])[-1][f'knn/{token}_top1'] == pytest.approx(found['top1'])


def test_a_long_interval_still_ends_with_a_figure(data, tmp_path):
    given = {'online_knn.interval': 10, 'online_knn.data': str(data), 'train_cfg.max_epochs': 1,
             'param_scheduler.0.warmup': 0}  # fmt: skip
    train(CONFIG, options(**given), str(tmp_path))
    assert [line['step'] for line in figures(tmp_path)] == [0, 1]


@pytest.mark.parametrize(
    ('given', 'said'),
    [({'online_knn.interval': 0}, 'online_knn.interval'), ({'online_knn.k': 'x'}, 'online_knn.k'),
     ({'online_knn.intervall': 1}, 'interval'), ({'online_knn.data': '/nowhere'}, '/nowhere')],
)  # fmt: skip
def test_options_that_are_refused(data, tmp_path, given, said):
    with refused(said):
        train(CONFIG, options(**given), str(tmp_path))


def test_without_validation_folders_the_option_to_give_is_named(data, tmp_path, monkeypatch):
    monkeypatch.setenv('G2SD_DATA', str(tmp_path))
    (tmp_path / 'imagenet').mkdir()
    (tmp_path / 'imagenet' / 'train').symlink_to(data / 'train')
    with refused('online_knn', 'online_knn.data=DIR'):
        train(CONFIG, options(**{'online_knn.interval': 1}), str(tmp_path / 'run'))


def test_a_run_of_a_task_is_refused(data, tmp_path):
    plain = {**imagenet.plain(), 'online_knn.interval': 1, 'model.backbone.init_cfg': None}
    with refused('online_knn', 'ImageClassifier'):
        train(imagenet.path('vitb_cls'), plain, str(tmp_path))
