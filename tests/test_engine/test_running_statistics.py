"""Running statistics are kept from bad batches, and are the same in all processes."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.model import BaseModel, StochasticWeightAverage
from torch import nn

from g2sd_mm.engine.hooks.export import WeightsExportHook
from g2sd_mm.engine.hooks.saving import WholeCheckpointHook
from g2sd_mm.engine.running_statistics import Undo, share_statistics
from g2sd_mm.engine.running_statistics import running_statistics as statistics

from ..helpers.runs import runner
from ..helpers.toys import free_port


class Normed(BaseModel):
    """A batch norm, whose input is not a number at some steps."""

    def __init__(self, bad=()) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.bad, self.step = bad, 0

    def forward(self, inputs=None, data_samples=None, mode: str = 'tensor'):
        self.step += 1
        images = torch.stack(list(inputs)).float()
        if self.step in self.bad:
            images = images * float('nan')
        return {'loss': self.norm(images).square().mean()}


def trained(folder: Path, bad=(), **changes) -> Normed:
    model = Normed(bad)
    hooks = [dict(type='NonFiniteHook', max_skips=1)]
    runner(folder, model, custom_hooks=hooks, **changes).train()
    return model


@pytest.mark.parametrize('window', [1, 2])
def test_a_skipped_update_leaves_statistics_as_they_were(tmp_path, window):
    """All that the forward passes of its window did to them."""
    optimizer = dict(optimizer=dict(type='SGD', lr=0.1), accumulative_counts=window)
    model = trained(tmp_path / 'bad', [3], optim_wrapper=optimizer)
    assert all(b.isfinite().all() for b in statistics(model))
    assert model.norm.num_batches_tracked == 8 - window
    good = trained(tmp_path / 'good', optim_wrapper=optimizer)
    assert good.norm.num_batches_tracked == 8


def test_good_updates_are_those_of_a_run_without_the_hook(tmp_path):
    watched = trained(tmp_path / 'watched')
    runner(tmp_path / 'alone', alone := Normed()).train()
    for one, other in zip(watched.state_dict().values(), alone.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def _share(rank: int, port: int) -> None:
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2', MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
    )
    torch.distributed.init_process_group('gloo')
    model, averaging = Normed(), EMAHook()
    model.norm.running_mean.fill_(rank + 1)
    model.norm.running_var.copy_(torch.tensor([0.1, 0.2, 0.3]) * (1 + 2 * rank))
    averaging.ema_model = StochasticWeightAverage(model)
    run = SimpleNamespace(model=model, hooks=[averaging])
    share_statistics(run)
    once = [buffer.clone() for buffer in statistics(model)]
    share_statistics(run)
    for network in (model, averaging.ema_model):
        assert all(map(torch.equal, once, statistics(network)))
    assert model.norm.running_mean.tolist() == [1.5] * 3
    assert torch.allclose(model.norm.running_var, torch.tensor([0.2, 0.4, 0.6]))
    torch.distributed.destroy_process_group()


def test_processes_share_the_mean_of_their_statistics():
    """Those of averaged weights too; sharing again changes no bit."""
    context, port = multiprocessing.get_context('fork'), free_port()
    ranks = [context.Process(target=_share, args=(rank, port)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(60)
    assert [process.exitcode for process in ranks] == [0, 0]


def test_whatever_has_statistics_counts():
    class Foreign(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer('running_mean', torch.zeros(2))
            self.register_buffer('running_var', None)

    model = nn.Sequential(nn.BatchNorm2d(3), Foreign(), nn.BatchNorm1d(2).double())
    undo, before = Undo(model), [one.clone() for one in statistics(model)]
    assert len(before) == 3 + 1 + 3
    for buffer in statistics(model):
        buffer.add_(1)
    undo.back_if(torch.tensor(0.0))
    assert not any(torch.equal(a, b) for a, b in zip(statistics(model), before, strict=True))
    undo.back_if(torch.tensor(1.0))
    assert all(torch.equal(a, b) for a, b in zip(statistics(model), before, strict=True))


def test_one_process_keeps_its_own():
    model = Normed()
    share_statistics(SimpleNamespace(model=model, hooks=[]))
    assert model.norm.running_mean.tolist() == [0.0] * 3


def test_they_are_shared_before_validations_and_before_anything_is_saved(tmp_path, monkeypatch):
    done: list[str] = []

    def told(place: str):
        return lambda runner: done.append(place)

    for module in ('export', 'saving'):
        monkeypatch.setattr(f'g2sd_mm.engine.hooks.{module}.share_statistics', told(module))
    monkeypatch.setattr(WeightsExportHook, '_write', lambda *args: done.append('written'))
    export = WeightsExportHook()
    export.before_val(SimpleNamespace())
    export.after_train(SimpleNamespace())
    assert done == ['export', 'export', 'written']
    hooks = dict(logger=None, checkpoint=dict(type=WholeCheckpointHook, interval=1))
    runner(tmp_path, Normed(), default_hooks=hooks).train()
    assert done[3:] == ['saving'] * 2
