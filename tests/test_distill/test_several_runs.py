"""Whole runs with several teachers and measured targets: killed, resumed, and split otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from g2sd_mm.checkpoints import read_weights
from g2sd_mm.compat.safe_load import load_checkpoint
from g2sd_mm.runs.train import train

from ..helpers import imagenet
from ..helpers.toys import autoencoder, save
from ..test_distributed import check_equal, two_processes

#: 4 updates an epoch, 3 epochs: measured until the middle of the second.
UPDATES = 6
CONFIG = """
_base_ = {base!r}
_teacher = dict(
    type='MAETeacher', arch='demo-teacher', decoder='dec64d2b', img_size=32,
    until='decoder_blocks.1')
_adapter = dict(type='MlpAdapter', in_channels=32, out_channels=64)
distillation = dict(
    teacher=None,
    teachers=dict(
        a=dict(_teacher, checkpoint={files[0]!r}), b=dict(_teacher, checkpoint={files[1]!r})),
    teacher_drop=dict(probability=0.5),
    taps={{'_delete_': True, 'a.tokens': 'decoder_blocks.1',
           'b.tokens': dict(student='decoder_blocks.1')}},
    adapters={{'_delete_': True, 'a.tokens': _adapter, 'b.tokens': _adapter}},
    losses=dict(
        _delete_=True,
        loss_a=dict(
            type='SmoothL1FeatureLoss', tap='a.tokens',
            target=dict(type={kind!r}, updates={updates})),
        loss_b=dict(
            type='CosineSmoothL1FeatureLoss', tap='b.tokens', warmup=3, loss_weight=0.5,
            target=dict(type='mean_std', updates={updates}))))
"""


@HOOKS.register_module(force=True)
class StopsAt(Hook):
    """Ends the run as a killed process would: nothing is saved any more."""

    def __init__(self, step: int) -> None:
        self.step = step

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == self.step:
            raise ArithmeticError('the run ends here')


@pytest.fixture(scope='module')
def teachers(image_data, tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp('teachers')
    sizes = dict(arch='demo-teacher', decoder='dec64d2b', img_size=32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('G2SD_DATA', str(image_data))
        yield [save(folder / f'{seed}.pth', autoencoder(sizes, seed)) for seed in range(2)]


def config(folder: Path, files: list[str], kind: str = 'phi_s') -> str:
    path = folder / 'two.py'
    base = imagenet.path('g2sd_vits_generic')
    path.write_text(CONFIG.format(base=base, files=files, kind=kind, updates=UPDATES))
    return str(path)


def options(batch: int = 6, accumulation: int = 1, **changes: Any) -> dict[str, Any]:
    common = imagenet.stage1(None, **changes)
    common = {k: v for k, v in common.items() if not k.startswith('distillation')}
    return {
        **common,
        'train_cfg.max_epochs': 3,
        'default_hooks.checkpoint.max_keep_ckpts': -1,
        'train_dataloader.batch_size': batch,
        'optim_wrapper.accumulative_counts': accumulation,
        'param_scheduler.0.accumulation': accumulation,
        'optim_wrapper.optimizer.lr': 1e-3,
    }


def checkpoint(folder: Path, epoch: int = 3) -> dict[str, Any]:
    return load_checkpoint(folder / f'epoch_{epoch}.pth')


def equal(one: Any, two: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(equal, one, two))
    return one == two


@pytest.mark.slow
def test_a_killed_run_ends_as_if_nothing_had_been(teachers, tmp_path):
    """Killed while the targets are measured, and again when they are fixed."""
    path, whole, cut = config(tmp_path, teachers), tmp_path / 'whole', tmp_path / 'cut'
    train(path, options(), str(whole))
    for step in (5, 10):
        hooks = [dict(type='StepSeedHook'), dict(type='StopsAt', step=step)]
        with pytest.raises(ArithmeticError):
            resume = 'auto' if step == 10 else None
            train(path, options(custom_hooks=hooks), str(cut), resume=resume)
    train(path, options(), str(cut), resume='auto')
    for epoch in (1, 2, 3):
        one, two = checkpoint(whole, epoch), checkpoint(cut, epoch)
        for part in ('state_dict', 'optimizer'):
            assert equal(one[part], two[part]), (epoch, part)
    state = checkpoint(whole, 1)['state_dict']
    assert not state['distillation.losses.loss_a.target.settled']
    assert checkpoint(whole, 2)['state_dict']['distillation.losses.loss_b.target.settled']
    deployed = read_weights(whole / 'weights.pth')
    assert not [name for name in deployed.state if 'target' in name or 'adapter' in name]
    origin = json.loads((whole / 'weights.json').read_text())['origin']
    assert [entry['file'] for entry in origin['teachers'].values()] == teachers
    logged = [json.loads(line) for log in whole.glob('*/vis_data/scalars.json')
              for line in log.read_text().splitlines()]  # fmt: skip
    names = {'loss_a', 'loss_b', 'explained_variance_a', 'time_teacher_a', 'time_teacher_b'}
    assert names <= set().union(*logged)


@pytest.mark.slow
def test_accumulation_measures_what_one_batch_does(teachers, tmp_path):
    path = config(tmp_path, teachers)
    train(path, options(), str(tmp_path / 'whole'))
    train(path, options(batch=3, accumulation=2), str(tmp_path / 'parts'))
    whole, parts = (checkpoint(tmp_path / name)['state_dict'] for name in ('whole', 'parts'))
    names = [name for name in whole if '.target.' in name]
    assert len(names) == 8
    for name in names:
        one, two = whole[name], parts[name]
        if name.endswith('loss_a.target.spread'):
            one, two = one[1], two[1]  # of fewer class tokens than channels it is not unique
        assert torch.allclose(one, two, rtol=1e-4, atol=1e-4), name


@pytest.mark.slow
def test_two_processes_train_as_one(teachers, tmp_path):
    path, one, two = config(tmp_path, teachers, 'mean_std'), tmp_path / '1', tmp_path / '2'
    hooks = [dict(type=name) for name in ('StepSeedHook', 'LossLog', 'WeightsExportHook')]
    train(path, options(custom_hooks=hooks), str(one))
    two_processes(
        path.removesuffix('.py'), tmp_path, two, options=options(batch=3, custom_hooks=hooks)
    )
    check_equal(one, two, steps=12)
    for name, tensor in checkpoint(one)['state_dict'].items():
        if '.target.' in name:
            other = checkpoint(two)['state_dict'][name]
            assert torch.allclose(tensor, other, rtol=1e-3, atol=1e-4), name
