"""A teacher's answers by step: taken where the same images come again, mixed in the same way."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from g2sd_mm.checkpoints import read_weights
from g2sd_mm.distill.answers import TeacherAnswers, tap_of_decisions
from g2sd_mm.distill.kept_rows import keys_of, replayed
from g2sd_mm.runs.train import train

from ..helpers import imagenet
from ..helpers.toys import classifier, images, labelled, save
from .test_specific import LABELS, LOSSES, specific

CPU = torch.device('cpu')


def samples(*seeds: int | None) -> list:
    return [SimpleNamespace(sample_seed=seed) for seed in seeds]


def logits(*classes: int) -> dict[str, torch.Tensor]:
    """What a teacher says that decides so."""
    return {'logits': torch.nn.functional.one_hot(torch.tensor(classes)).float()}


def decisions_in(path: Path) -> TeacherAnswers:
    return TeacherAnswers(path, 6, 1e9, [['teacher.logits']], by_step=True, decisions='logits')


def decided(labels: TeacherAnswers, *seeds: int) -> list[int]:
    return labels.find(samples(*seeds), CPU)['logits'].argmax(1).tolist()


def test_decisions_are_found_again_in_another_run(tmp_path):
    path = tmp_path / 'folder' / 'rank0.labels'
    labels = decisions_in(path)
    labels.step = 1
    assert labels.find(samples(5, 6), CPU) is None
    labels.keep(samples(5, 6), logits(999, 40_000))
    again = decisions_in(path)
    again.step = 1
    assert decided(again, 5, 6) == [999, 40_000]
    assert (labels.asked, again.found, again.asked) == (1, 1, 0)


@pytest.mark.parametrize(('step', 'seeds'), [(0, (5, 6)), (1, (6, 5)), (1, (5, 7)), (1, (5,))])
def test_other_samples_or_steps_are_not_found(tmp_path, step, seeds):
    labels = decisions_in(tmp_path / 'labels')
    labels.step = 1
    labels.keep(samples(5, 6), logits(1, 2))
    labels.step = step
    assert labels.find(samples(*seeds), CPU) is None


def test_decisions_are_of_images_and_not_of_their_numbers(tmp_path):
    labels = decisions_in(tmp_path / 'labels')
    labels.keep([SimpleNamespace(sample_seed=5, img_path='a.png')], logits(1))
    assert labels.find([SimpleNamespace(sample_seed=5, img_path='b.png')], CPU) is None


def test_a_file_that_was_replaced_is_another_one(tmp_path):
    file = tmp_path / 'a.png'
    file.write_bytes(b'before')
    sample = SimpleNamespace(sample_seed=5, img_path=str(file))
    before, same = keys_of([sample]), keys_of([sample])
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1000))
    assert before == same != keys_of([sample])


def seeded(*seeds: int) -> list:
    batch = labelled(LABELS)
    for sample, seed in zip(batch, seeds, strict=True):
        sample.set_metainfo({'sample_seed': seed})
    return batch


def test_labels_on_file_give_the_teachers_loss_without_the_teacher(tmp_path):
    model, batch = specific(), seeded(1, 2, 3, 4)
    expected = model(images(4), batch, mode='loss')['loss_dist']
    model.distillation.kept = decisions_in(tmp_path / 'labels')
    asked = []
    model.teacher.model.backbone.register_forward_hook(lambda *_: asked.append(1))
    first, second = (model(images(4), batch, mode='loss')['loss_dist'] for _ in range(2))
    assert torch.equal(first, expected)
    assert torch.equal(second, expected)
    assert len(asked) == 1
    other = model(images(4), seeded(1, 2, 3, 5), mode='loss')
    assert len(asked) == 2 and torch.equal(other['loss_dist'], expected)


def test_of_losses_that_need_more_than_decisions_all_is_kept():
    model = specific(losses={**LOSSES, 'loss_nkd': dict(type='NKDLoss', tap='logits')})
    assert tap_of_decisions(model.distillation) == ''
    assert tap_of_decisions(specific().distillation) == 'logits'
    assert tap_of_decisions(specific().distillation, model.distillation) == ''


@pytest.fixture(scope='module')
def train_in(image_data, tmp_path_factory):
    """Trains stage 2 of classification for two epochs; gives what was kept, and the weights."""
    place = tmp_path_factory.mktemp('labels')
    teacher = save(place / 'teacher.pth', classifier(arch='demo-teacher', dim=128))

    def go(folder: Path, **options):
        hooks = [
            dict(type='StepSeedHook'), dict(type='WeightsExportHook'),
            dict(
                type='TeacherAnswersHook', by='step', folder=str(folder / 'labels')),
        ]
        options = {'model.backbone.init_cfg': None, 'custom_hooks': hooks, **options}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv('G2SD_DATA', str(image_data))
            runner = train(
                imagenet.path('g2sd_vits_cls'), imagenet.stage2(teacher, **options),
                str(folder / 'run'),
            )
        labels = runner.model.distillation.kept
        return labels, read_weights(folder / 'run' / 'weights.pth').state

    return go


@pytest.fixture(scope='module')
def first(train_in, tmp_path_factory):
    """A first run: its folder, what it kept, and its weights."""
    folder = tmp_path_factory.mktemp('first')
    return folder, *train_in(folder)


@pytest.fixture
def second(train_in, first, tmp_path):
    """A run beside the labels of the first one."""
    shutil.copytree(first[0] / 'labels', tmp_path / 'labels')
    return lambda **options: train_in(tmp_path, **options)


def test_a_second_run_with_the_same_images_never_asks(first, second, tmp_path):
    """Mixing and augmentation are on: what is replayed is replayed to the pixel."""
    _, kept, weights = first
    found, again = second()
    assert (kept.found, kept.asked) == (0, 8)
    assert (found.found, found.asked) == (8, 0)
    assert all(torch.equal(tensor, again[name]) for name, tensor in weights.items())
    (folder,) = (tmp_path / 'labels').iterdir()
    assert [path.name for path in folder.iterdir()] == ['rank0of1.sqlite']


@pytest.mark.parametrize('change', [
    {'randomness.seed': 1},
    {'model.train_cfg': {'_delete_': True}},  # no mixing
    {'distillation.teacher.dtype': 'bfloat16'},
])
def test_runs_whose_teacher_sees_or_answers_otherwise_ask_it(second, tmp_path, change):
    found, _ = second(**change)
    assert found.found == 0
    assert len(list((tmp_path / 'labels').iterdir())) == 2


def test_another_student_takes_them(second):
    found, _ = second(**{'optim_wrapper.optimizer.lr': 1e-3,
                         'model.backbone.drop_path_rate': 0.2})
    assert (found.found, found.asked) == (8, 0)


def test_labels_of_other_names_are_others():
    """A renamed folder moves the numbers of all classes after it."""

    def folder(*classes: str) -> str:
        dataset = SimpleNamespace(metainfo={'classes': classes})
        return replayed(
            SimpleNamespace(
                cfg=Config(
                    dict(train_dataloader={}, model=dict(student={}, teacher=dict(until='norm')))
                ),
                seed=0,
                model=SimpleNamespace(teachers={'': SimpleNamespace(checksum=lambda: 'a')}),
                train_dataloader=SimpleNamespace(dataset=dataset),
            )
        )

    assert folder('cat', 'dog') == folder('cat', 'dog')
    assert folder('cat', 'dog') != folder('dog', 'cat')
