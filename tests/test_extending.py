"""A teacher, a loss, a baseline and a task of one's own: a file and a config each.

Every test writes them into an empty folder, trains, and edits nothing of the package.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from g2sd_mm import tasks
from g2sd_mm.bench import methods
from g2sd_mm.bench.reports.page import render
from g2sd_mm.bench.results import read_results
from g2sd_mm.bench.suites import run as run_module
from g2sd_mm.bench.suites.catalogue import MINI
from g2sd_mm.bench.suites.derived import with_custom_rows
from g2sd_mm.bench.suites.run import run_suite
from g2sd_mm.engine.hooks.access import bare_model
from g2sd_mm.runs.train import train
from g2sd_mm.students import load_student

from .helpers import imagenet
from .helpers.toys import ROOT
from .test_bench.test_suites.fakes import Fake

TEACHER = '''
from mmengine.registry import MODELS
from torch import nn

from g2sd_mm.distill import Features, FrozenTeacher


@MODELS.register_module()
class PatchTeacher(FrozenTeacher):
    """The image itself, patch by patch."""

    sees = 'image'

    def __init__(self, patch, dtype='float32'):
        super().__init__(nn.PixelUnshuffle(patch), dtype)
        self.width = 3 * patch**2

    def answer(self, images, view):
        return Features(None, self.model(images).movedim(1, -1))


@MODELS.register_module()
class PatchDistance(nn.Module):
    """Mean distance of predicted and true patches."""

    def forward(self, student, teacher):
        return (student[:, 1:] - teacher.flatten(1, 2)).abs().mean()
'''
STAGE1 = f'''
_base_ = {str(ROOT / 'configs/imagenet/g2sd_vits_generic.py')!r}

custom_imports = dict(imports=[*_base_.custom_imports.imports, 'patch_teacher'])
distillation = dict(
    teacher=dict(_delete_=True, type='PatchTeacher', patch=8),
    taps=dict(tokens=dict(_delete_=True, student='decoder_blocks.-1')),
    losses=dict(
        loss_tokens=None,
        loss_patches=dict(
            type='PatchDistance',
            inputs=dict(student='student.tokens', teacher='teacher.patches'))))
'''
LOSS = '''
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import nn


@MODELS.register_module()
class ToyCosineLoss(nn.Module):
    def forward(self, student, teacher):
        return (1 - F.cosine_similarity(student, teacher)).mean()
'''
STAGE2 = f'''
_base_ = {str(ROOT / 'configs/imagenet/g2sd_vits_cls.py')!r}

custom_imports = dict(imports=[*_base_.custom_imports.imports, 'cosine_loss'])
distillation = dict(losses=dict(loss_cosine=dict(type='ToyCosineLoss', tap='logits')))
'''
TASK = '''
from dataclasses import replace

from mmengine.registry import MODELS
from mmpretrain.models import ImageClassifier

from g2sd_mm.tasks import TASKS, Metric, register


@MODELS.register_module()
class Counter(ImageClassifier):
    """Says how many objects there are: a class is a number."""


register(replace(
    TASKS['cls'], key='count', name='counting', title='Counting', place=9, model_types=('Counter',),
    metrics=(Metric('exact', 'accuracy/top1'),),
    plain=lambda sample, classes, threshold: {'number': int(sample.pred_score.argmax())}))
'''
COUNTING = f'''
_base_ = {str(ROOT / 'configs/imagenet/vits_scratch_cls.py')!r}

custom_imports = dict(imports=[*_base_.custom_imports.imports, 'counting'])
model = dict(type='Counter')
'''
BASELINE = f'''
_base_ = {str(ROOT / 'configs/mini/g2sd_vits_cls.py')!r}

row = dict(
    name='logits_only', title='Logits only', colour='#123456', claims=('scratch',), source='a page')
distillation = dict(losses=dict(loss_tokens=None))
'''


@pytest.fixture
def folder(tmp_path, monkeypatch, image_data) -> Path:
    """Empty, and where Python finds modules."""
    monkeypatch.setenv('G2SD_DATA', str(image_data))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name in ('patch_teacher', 'cosine_loss', 'counting'):
            del sys.modules[name]


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f'{name}.py').write_text(text)


def losses(run: Path) -> list[dict[str, Any]]:
    (log,) = run.glob('*/vis_data/scalars.json')
    return [entry for entry in map(json.loads, log.read_text().splitlines()) if 'loss' in entry]


ONCE = {'train_cfg.max_epochs': 1, 'param_scheduler.0.warmup': 0}


def test_a_teacher_family_teaches_stage_one(folder):
    write(folder, patch_teacher=TEACHER, stage1=STAGE1)
    options = imagenet.stage1(None, **ONCE)
    options = {k: v for k, v in options.items() if not k.startswith('distillation.teacher')}
    options['distillation.adapters.tokens.out_channels'] = 3 * 8**2
    runner = train('stage1.py', options)
    assert type(bare_model(runner).teacher).__name__ == 'PatchTeacher'
    steps = losses(folder / 'work_dirs' / 'stage1')
    assert len(steps) >= 2 and all(step['loss_patches'] > 0 for step in steps)
    assert (folder / 'work_dirs' / 'stage1' / 'weights.pth').is_file()


def test_a_loss_is_added_to_stage_two(folder):
    write(folder, cosine_loss=LOSS, stage2=STAGE2)
    train(imagenet.path('vitb_cls'), imagenet.plain(**ONCE, **{'model.backbone.init_cfg': None}))
    options = imagenet.stage2('work_dirs/vitb_cls/weights.pth', **ONCE)
    train('stage2.py', {**options, 'model.backbone.init_cfg': None})
    steps = losses(folder / 'work_dirs' / 'stage2')
    assert len(steps) >= 2 and all(0 < step['loss_cosine'] < 2 for step in steps)


def test_a_task_has_its_metric_its_network_and_its_predictions(folder, image_data, monkeypatch):
    monkeypatch.setattr(tasks, 'TASKS', dict(tasks.TASKS))
    write(folder, counting=TASK, counter=COUNTING)
    train('counter.py', imagenet.plain('demo-student', **ONCE))
    assert len(losses(folder / 'work_dirs' / 'counter')) >= 2
    student = load_student(folder / 'work_dirs' / 'counter')
    assert student.task == 'counting'
    assert student(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    image = next((image_data / 'imagenet' / 'val').rglob('*.jpg'))
    assert student.predict(image)['number'] in (0, 1, 2)
    counting = tasks.task_named('counting')
    assert counting.agreed({'accuracy/top1': 50.0}) == {'exact': 50.0}
    assert tasks.task_of('mmpretrain', {'type': 'ImageClassifier'}).key == 'cls'


def test_a_baseline_is_a_row_with_title_colour_and_claim(folder, monkeypatch):
    monkeypatch.setattr(methods, '_ADDED', {})
    write(folder, baseline=BASELINE)
    suite = with_custom_rows(MINI, ['baseline.py'])
    rows = [row for row in suite.rows if row.method in ('logits_only', 'scratch')]
    rows = [row for row in rows if (row.task, row.table) == ('cls', 'main')]
    (folder / 'log').write_text('')
    monkeypatch.setattr(run_module, 'launch', Fake(folder / 'log'))
    tested = {'metrics': {'top1': 50.0}}
    monkeypatch.setattr(run_module, 'launch_test', lambda *_, **__: tested)
    run_suite(suite, rows, [0], folder / 'out', say=lambda line: None)
    methods._ADDED.clear()  # as in the process that reads the results later
    page = render(read_results(folder / 'out' / 'results.json'), folder / 'out')
    assert methods.method_of('logits_only').title == 'Logits only'
    assert methods.colour('logits_only') == '#123456'
    assert 'logits_only' in page and 'logits_only &gt; scratch' in page
