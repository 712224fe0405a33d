"""Losses leave the device when somebody looks, all at once, and nothing is lost."""

from __future__ import annotations

import pytest
import torch
from mmengine.hooks import Hook
from torch.utils._python_dispatch import TorchDispatchMode

from g2sd_mm.engine.hooks import metrics
from g2sd_mm.engine.hooks.metrics import fetch

from ..helpers.runs import Slope, loader, runner
from ..helpers.toys import distiller
from ..test_distill.test_specific import specific

_INTERVAL = 4
HOOKS = {
    'runtime_info': dict(type='MetricsHook'),
    'logger': dict(type='LoggerHook', interval=_INTERVAL),
    'checkpoint': dict(type='CheckpointHook', interval=1, by_epoch=True),
}


class Reads(TorchDispatchMode):
    """Counts every number that python reads out of a tensor (``item``, ``float``, ``bool``)."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


class ReadsByStep(Hook):
    """How many numbers were read until after each step."""

    priority = 'LOWEST'

    def __init__(self, reads: Reads) -> None:
        self.reads, self.steps = reads, []

    def before_train_iter(self, *args, **kwargs):
        self.steps.append(0)
        self.before = self.reads.count

    def after_train_iter(self, *args, **kwargs):
        self.steps[-1] = self.reads.count - self.before


def reads_by_step(folder, model, hooks: dict, batches: int = 8) -> list[int]:
    reads = Reads()
    counter = ReadsByStep(reads)
    run = runner(
        folder, model, train_dataloader=loader(batches, stacked=True), default_hooks=hooks,
        custom_hooks=[counter, dict(type='StepSeedHook')],
        optim_wrapper=dict(
            constructor='ViTLayerDecayConstructor', optimizer=dict(type='AdamW', lr=1e-4)
        ),
        train_cfg=dict(by_epoch=True, max_epochs=1),
    )
    with reads:
        run.train()
    return counter.steps


@pytest.mark.parametrize('make', [distiller, specific])
def test_no_number_leaves_the_device_between_two_lines_of_the_log(tmp_path, make):
    steps = reads_by_step(tmp_path, make(), HOOKS)
    assert steps == [0] * 8


def test_mmengines_own_hook_reads_at_every_step(tmp_path):
    own = {**HOOKS, 'runtime_info': dict(type='RuntimeInfoHook')}
    assert min(reads_by_step(tmp_path, distiller(), own)) >= 1


class Counting(Slope):
    """Its loss is the number of the step."""

    steps = 0

    def forward(self, inputs=None, data_samples=None, mode='tensor'):
        self.steps += 1
        return {'loss_a': self.weight * 0 + self.steps, 'share': torch.tensor(0.5)}


def history(run, name: str) -> list[float]:
    return run.message_hub.get_scalar(f'train/{name}').data[0].tolist()


def test_the_log_has_every_value_in_order(tmp_path):
    hooks = {**HOOKS, 'logger': dict(type='LoggerHook', interval=3)}
    run = runner(tmp_path, Counting(), default_hooks=hooks)
    run.train()
    assert history(run, 'loss_a') == history(run, 'loss') == list(range(1, 9))
    assert history(run, 'share') == [0.5] * 8


def test_values_come_when_the_log_is_due_and_not_before(tmp_path):
    class Look(Hook):
        def after_train_iter(self, runner, batch_idx, **kwargs):
            scalars = runner.message_hub.log_scalars
            seen.append(len(scalars['train/loss'].data[0]) if 'train/loss' in scalars else 0)

    seen = []
    hooks = {**HOOKS, 'logger': dict(type='LoggerHook', interval=3)}
    runner(
        tmp_path, Counting(), default_hooks=hooks, custom_hooks=[Look()],
        train_dataloader=loader(8), train_cfg=dict(by_epoch=True, max_epochs=1),
    ).train()
    assert seen == [0, 0, 3, 3, 3, 6, 6, 8]  # the last: the end of the epoch


def test_a_checkpoint_between_two_lines_of_the_log_has_all_values(tmp_path):
    hooks = {
        **HOOKS,
        'logger': dict(type='LoggerHook', interval=100),
        'checkpoint': dict(type='CheckpointHook', interval=3, by_epoch=False),
    }
    runner(tmp_path, Counting(), default_hooks=hooks).train()
    saved = torch.load(tmp_path / 'iter_3.pth', weights_only=False)['message_hub']
    assert saved['log_scalars']['train/loss'].data[0].tolist() == [1, 2, 3]


def test_a_run_that_stops_early_hands_over_what_it_has(tmp_path):
    run = runner(tmp_path, Counting(), default_hooks=HOOKS)
    hook = next(h for h in run.hooks if isinstance(h, metrics.MetricsHook))
    hook._pending = [{'loss': torch.tensor(2.0)}]
    run.message_hub.update_info('loop_stage', 'train')
    hook.after_train(run)
    assert history(run, 'loss') == [2.0]


def test_the_log_does_not_grow_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(metrics, '_KEPT', 5)
    run = runner(tmp_path, Counting(), default_hooks=HOOKS)
    run.train()
    assert history(run, 'loss') == [4, 5, 6, 7, 8]
    assert len(history(run, 'time')) <= 5


def test_values_of_several_ranks_are_averaged(tmp_path, monkeypatch):
    other = [{'loss': 3.0, 'acc': 1.0}, {'loss': 5.0}]
    monkeypatch.setattr(metrics, 'get_world_size', lambda: 2)
    monkeypatch.setattr(metrics, 'all_gather_object', lambda own: [own, other])
    run = runner(tmp_path, Counting(), default_hooks=HOOKS)
    hook = metrics.MetricsHook()
    hook._pending = [{'loss': torch.tensor(1.0)}, {'loss': torch.tensor(1.0), 'acc': 0.5}]
    hook._deliver(run)
    assert history(run, 'loss') == [2.0, 3.0]
    assert history(run, 'acc') == [1.0, 0.5]


def test_one_transfer_fetches_everything():
    reads = Reads()
    with reads:
        steps = fetch([{'loss': torch.tensor(1.5), 'n': 2}, {'loss': torch.tensor([0.25])}])
    assert steps == [{'loss': 1.5, 'n': 2}, {'loss': 0.25}]
    assert reads.count == 0
    assert fetch([]) == []
