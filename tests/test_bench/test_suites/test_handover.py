"""The printed commands of the paper suite, executed: every file is where the next stage looks.

ImageNet, COCO and ADE20K are tiny generated folders, published teachers random files in their full
layout; networks are narrow and runs have two steps. All else is what a person would run.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from g2sd_mm.bench.suites.budget import Throughput
from g2sd_mm.bench.suites.catalogue import SUITES
from g2sd_mm.bench.suites.commands import Launcher
from g2sd_mm.bench.suites.plan import describe, with_public_files
from g2sd_mm.checkpoints import read_weights
from g2sd_mm.models.mae import MaskedAutoencoder

from ...helpers import small_configs, small_masks
from ...helpers.detectron2_names import detectron2_names
from ...helpers.toys import ROOT

pytestmark = pytest.mark.slow

METHODS = ['teacher', 'mae_student', 'single_stage', 'g2sd_nosd', 'g2sd']
TEACHER = small_configs.WIDTHS['base']


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    """What ``G2SD_DATA`` names: the three data sets and ImageNet-A."""
    root = tmp_path_factory.mktemp('data')
    names = [f'n{i:08d}' for i in range(1000)]
    for split in ('train', 'val'):
        for name in names:
            (root / 'imagenet' / split / name).mkdir(parents=True)
        for i in (0, 1, 500, 999):
            picture(root / 'imagenet' / split / names[i] / 'image.JPEG', i)
    for i in (1, 500):
        (root / 'imagenet-a' / names[i]).mkdir(parents=True)
        picture(root / 'imagenet-a' / names[i] / 'image.jpg', i)
    for split in ('train2017', 'val2017'):
        coco(root / 'coco', split)
    small_masks.write_data(root / 'ade' / 'ADEChallengeData2016')
    return root


def picture(path: Path, seed: int, height: int = 60, width: int = 80) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def coco(root: Path, split: str) -> None:
    (root / split).mkdir(parents=True)
    (root / 'annotations').mkdir(exist_ok=True)
    images, annotations = [], []
    for i in range(1, 5):
        picture(root / split / f'{i}.jpg', i)
        images.append(dict(id=i, file_name=f'{i}.jpg', height=60, width=80))
        polygon = [10, 10, 60, 10, 60, 50, 10, 50]
        annotations.append(
            dict(id=i, image_id=i, category_id=3, bbox=[10, 10, 50, 40], area=2000, iscrowd=0,
                 segmentation=[polygon])
        )
    from mmdet.datasets import CocoDataset

    categories = [dict(id=i, name=name) for i, name in enumerate(CocoDataset.METAINFO['classes'])]
    content = dict(images=images, annotations=annotations, categories=categories)
    (root / 'annotations' / f'instances_{split}.json').write_text(json.dumps(content))


@pytest.fixture(scope='module')
def weights(tmp_path_factory) -> Path:
    """Published files: names and number of entries are theirs, widths and values are not."""
    folder = tmp_path_factory.mktemp('weights')
    torch.manual_seed(1)
    size = dict(arch=small_configs.arch('base'), img_size=224)
    mae = MaskedAutoencoder(**size, decoder=small_configs.decoder('dec512d8b', 'teacher'))
    mae.init_weights()
    state = mae.state_dict()
    assert len(state) == 254  # encoder 150, decoder 104
    torch.save({'model': state}, folder / 'mae_pretrain_vit_base_full.pth')
    encoder = {k: v for k, v in state.items() if not k.startswith(('decoder_', 'mask_token'))}
    classifier = {k.replace('norm.', 'fc_norm.') if k.startswith('norm.') else k: v
                  for k, v in encoder.items()}
    classifier['head.weight'] = torch.randn(1000, TEACHER) * 0.02
    classifier['head.bias'] = torch.zeros(1000)
    torch.save({'model': classifier}, folder / 'mae_finetuned_vit_base.pth')
    torch.save({'model': detector()}, folder / 'vitdet_b_maskrcnn.pth')
    return folder


def detector() -> dict[str, torch.Tensor]:
    """detectron2's 245 entries at the widths of :mod:`tests.helpers.small_configs`."""
    narrow = {256: 16, 1024: 128, 49 * 256: 49 * 16, 127: 15}  # 127: 64 patches a side, now 8
    shapes = detectron2_names(TEACHER, 2)
    assert len(shapes) == 245
    state = {}
    for name, shape in shapes.items():
        shape = tuple(narrow.get(n, n) for n in shape)
        state[name] = torch.randn(shape) * 0.02 + float('norm' in name and name.endswith('weight'))
    return state


class Session:
    """Runs of the paper suite in one folder; commands that were run are not run again."""

    def __init__(self, data: Path, weights: Path, folder: Path) -> None:
        self.data, self.weights, self.folder = data, weights, folder
        self.suite = with_public_files(SUITES['paper'], weights)
        self.done: set[str] = set()

    def commands(self, **asked: list[str]) -> list[str]:
        """Of the rows that are asked for, as ``--dry-run`` prints them."""
        one = Launcher('none', gpus=1, amp=False)
        rows = self.suite.select(**asked)
        lines = describe(self.suite, rows, [0], self.folder, self.weights, one, Throughput())
        return [line for line in lines if line and not line.startswith('#')]

    def run(self, **asked: list[str]) -> dict[str, dict[str, float]]:
        """Run these rows' commands in order; metrics by folder and file of the evaluations."""
        for command in self.commands(**asked):
            if command not in self.done:
                self.execute(command)
                self.done.add(command)
        found = (self.folder / 'seed0').glob('*/test*.json')
        return {f'{f.parent.name}/{f.stem}': json.loads(f.read_text())['metrics'] for f in found}

    def execute(self, command: str) -> None:
        """One printed line: a shell command, or one of the tools in a process of its own."""
        if not command.startswith('python '):
            subprocess.run(['bash', '-c', command], check=True)
            return
        log = self.folder / 'output.log'
        context = multiprocessing.get_context('fork')
        process = context.Process(target=self.tool, args=(shlex.split(command)[1:], log))
        process.start()
        process.join()
        assert process.exitcode == 0, f'{command}\n{log.read_text()[-3000:]}'

    def tool(self, arguments: list[str], log: Path) -> None:
        """In the new process: the tool as it is, on narrow networks."""
        import g2sd_mm.runs.prepare as fit

        read = fit.load_config

        def narrow(*args: Any, **kwargs: Any) -> Config:
            cfg = read(*args, **kwargs)
            if not cfg.get('model'):
                cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
                return cfg
            return small_configs.two_steps(small_configs.shrink(cfg))

        fit.load_config = narrow
        os.environ['G2SD_DATA'] = str(self.data)
        os.chdir(ROOT)
        sys.argv = arguments
        with log.open('w') as file, redirect_stdout(file), redirect_stderr(file):
            runpy.run_path(arguments[0], run_name='__main__')

    def state(self, run: str) -> dict[str, torch.Tensor]:
        return read_weights(self.folder / 'seed0' / run / 'weights.pth').state


@pytest.fixture(scope='module')
def session(data, weights, tmp_path_factory) -> Session:
    return Session(data, weights, tmp_path_factory.mktemp('paper'))


def starts_from(own: dict, before: dict, prefix: str = 'backbone.') -> float:
    """Largest difference between a run's blocks and those of the run that it starts from."""
    names = [n for n in before if n.startswith('blocks.') and n.endswith('qkv.weight')]
    assert len(names) == 12
    return max(float((own[prefix + n] - before[n]).abs().max()) for n in names)


@pytest.mark.parametrize(
    ('task', 'head', 'metric'),
    [('cls', 'cls', 'accuracy/top1'), ('det', 'maskrcnn', 'coco/segm_mAP'),
     ('seg', 'upernet', 'mIoU')],
)
def test_a_family_runs_from_stage_one_to_its_test(session, task, head, metric):
    metrics = session.run(task=[task], student=['vitb', 'vits'], table=['main'], method=METHODS)
    single = 'vits_single_stage' + ('' if task == 'cls' else f'_{head}')
    rows = [f'vitb_{head}', f'vits_mae_{head}', single, f'g2sd_vits_{head}_nosd',
            f'g2sd_vits_{head}']
    for row in rows:
        assert metric in metrics[f'{row}/test'], row
    stage1, alone = session.state('g2sd_vits_generic'), session.state('vits_mae')
    alone = {k.removeprefix('autoencoder.'): v for k, v in alone.items()}
    # two steps move weights by little more than the rate; other origins are far away
    for row, origin in ((rows[1], alone), (rows[3], stage1), (rows[4], stage1)):
        other = stage1 if origin is alone else alone
        assert starts_from(session.state(row), origin) < 0.02 < starts_from(
            session.state(row), other
        ), row
    assert starts_from(session.state(single), stage1) > 0.02


def test_published_files_stand_where_runs_would(session):
    session.run(task=['cls'], method=['g2sd'], student=['vits'], table=['main'])
    for run, name in (('vitb_mae', 'mae_pretrain_vit_base_full'),
                      ('vitb_cls', 'mae_finetuned_vit_base')):
        place = session.folder / 'seed0' / run
        assert not list(place.glob('*.log')), 'it was not trained'
        assert (place / 'weights.pth').resolve() == (session.weights / f'{name}.pth').resolve()


def test_an_ablation_and_a_robustness_test_run(session):
    metrics = session.run(table=['target'], method=['g2sd_nosd'])
    assert 'accuracy/top1' in metrics['g2sd_vits_target8_cls_nosd/test']
    variant = session.state('g2sd_vits_generic_target8')
    assert starts_from(session.state('g2sd_vits_target8_cls_nosd'), variant) < 0.02
    rows = [r for r in session.suite.rows if r.setting == 'imagenet_a' and r.method == 'g2sd']
    step = session.suite.step(rows[0].step)
    from g2sd_mm.bench.suites.commands import evaluation_command

    runs, one = session.folder / 'seed0', Launcher('none', gpus=1)
    session.execute(evaluation_command(step, rows[0], runs, one))
    kept = json.loads((runs / 'g2sd_vits_cls' / 'test_imagenet_a.json').read_text())
    assert set(kept['metrics']) == {'accuracy/top1', 'accuracy/top5'}


def test_without_the_stage_before_a_command_fails(session, tmp_path):
    """So that what passes above passes for the files that were handed over."""
    fresh = Session(session.data, session.weights, tmp_path)
    commands = fresh.commands(task=['cls'], method=['g2sd'], student=['vits'], table=['main'])
    stage2 = next(c for c in commands if 'train.py configs/imagenet/g2sd_vits_cls.py' in c)
    with pytest.raises(AssertionError, match=r'vitb_cls/weights\.pth: no such checkpoint'):
        fresh.execute(stage2)
