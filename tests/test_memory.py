"""Memory is flat: no step leaves anything behind, at either stage."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

import pytest
import torch
from torch.utils.data import DataLoader

from benchmarks.faults.children import Run
from benchmarks.faults.tasks import data_in, make_tasks, quick_folder

from .helpers import memory_log  # noqa: F401  (registers the hook)
from .helpers.runs import runner
from .helpers.toys import distiller, images, labelled
from .test_distill.test_specific import specific

HOOKS = [
    dict(type='StepSeedHook'), dict(type='NonFiniteHook'), dict(type='DivergenceHook'),
    dict(type='TeacherGuardHook', interval=10), dict(type='PreemptionHook'),
]
#: Of a logged number each step keeps two in mmengine's history: 0.4 MB for 12 of them.
HISTORY = 4.0


def loader(batches: int, batch: int = 2) -> DataLoader:
    number = batches * batch
    pixels, samples = images(number), labelled([i % 3 for i in range(number)])
    return DataLoader(
        [dict(inputs=p, data_samples=s) for p, s in zip(pixels, samples, strict=True)],
        batch,
        collate_fn=lambda items: dict(
            inputs=torch.stack([item['inputs'] for item in items]),
            data_samples=[item['data_samples'] for item in items],
        ),
    )


def watched(folder: Path, model: torch.nn.Module, hooks: list) -> dict:
    """Fifty steps of it."""
    runner(
        folder, model,
        train_dataloader=loader(10),
        train_cfg=dict(type='ResumableEpochLoop', max_epochs=5),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-3)),
        custom_hooks=[*hooks, dict(type='MemoryLog', interval=10)],
    ).train()
    return json.loads((folder / 'memory.json').read_text())


@pytest.mark.parametrize('stage', ['generic', 'specific'])
def test_no_tensor_is_left_by_a_step(tmp_path, stage):
    if stage == 'generic':
        model, hooks = distiller(relation=1.0, heads=2), HOOKS
    else:
        model, hooks = specific(), [*HOOKS, dict(type='LossWarmupHook')]
    seen = watched(tmp_path, model, hooks)
    assert len(seen['tensors']) == 4
    assert len(set(seen['tensors'][1:])) == 1, seen['tensors']  # some things are made once


def test_a_tensor_that_stays_would_be_seen(tmp_path):
    kept = []
    model = distiller()
    model.teacher.listener = lambda answer: kept.append(answer.cls.clone())
    seen = watched(tmp_path, model, [])
    assert seen['tensors'][-1] - seen['tensors'][1] == 20


@pytest.mark.slow
@pytest.mark.parametrize('name', ['stage1', 'cls', 'det', 'seg'])
def test_memory_is_flat_over_two_thousand_steps(name):
    steps, length = 2000, {'max_iters': 2000, 'val_interval': 2000}
    if name in ('stage1', 'cls'):
        length = {'max_epochs': steps // 5, 'val_interval': steps // 5}
    changes = {f'train_cfg.{key}': value for key, value in length.items()}
    if name == 'stage1':
        changes.pop('train_cfg.val_interval')
    with quick_folder() as folder, data_in(folder):
        task = make_tasks(folder, {name: 1}, hooks=[dict(type='MemoryLog')], **changes)[name]
        run = Run(task, folder / 'run')
        assert run.wait(3600) == [0], run.said[-2000:]
        seen = json.loads((folder / 'run' / 'memory.json').read_text())
    assert len(seen['tensors']) == steps // 50 - 1
    rest = slice(len(seen['tensors']) // 4, None)  # what comes first is made once
    assert len(set(seen['tensors'][rest])) == 1, seen['tensors']
    megabytes = seen['megabytes'][rest]
    third = len(megabytes) // 3
    grown = median(megabytes[-third:]) - median(megabytes[:third])
    assert grown < HISTORY, seen['megabytes']
