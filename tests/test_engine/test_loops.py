"""Training goes on in the middle of an epoch, and with the validation that was due."""

from __future__ import annotations

import logging

import pytest
from mmengine.dataset import DefaultSampler
from mmengine.hooks import Hook
from torch.utils.data import DataLoader

from g2sd_mm.datasets import SeededSampler
from g2sd_mm.engine.hooks.resuming import ResumeHook
from g2sd_mm.engine.loops import ResumableEpochLoop
from g2sd_mm.errors import UserError

from ..helpers.runs import Slope, runner
from ..helpers.toys import words

LOOP = dict(type='ResumableEpochLoop', max_epochs=2)


class Diary(Hook):
    """What the loop did, in order."""

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self.lines: list[str] = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.lines.append(f'{runner.epoch}:{batch_idx}:{data_batch["inputs"]}')

    def after_train_epoch(self, runner):
        self.lines.append('epoch ends')

    def before_val(self, runner):
        self.lines.append(f'validates at {runner.iter}')


class Numbers:
    """Seven samples that are their keys' numbers."""

    metainfo: dict = {}

    def __len__(self) -> int:
        return 7

    def __getitem__(self, key) -> int:
        loaded.append(key.index)
        return key.index


loaded: list[int] = []


def loader(sampler=None) -> DataLoader:
    data = Numbers()
    return DataLoader(
        data, 2, sampler=sampler or SeededSampler(data, seed=0), drop_last=True,
        collate_fn=lambda numbers: dict(inputs=numbers),
    )


def go(folder, epoch: int = 0, step: int = 0, sampler=None, **changes) -> list[str]:
    """Train from a place on; what was done."""
    loaded.clear()
    data = Numbers()
    batches = loader(sampler(data) if sampler else None)
    run = runner(folder, Slope(), **{'train_cfg': LOOP, 'train_dataloader': batches, **changes})
    run.register_hook(diary := Diary())
    run._train_loop = run.build_train_loop(run._train_loop)
    run.train_loop._epoch, run.train_loop._iter = epoch, step
    run.train()
    assert (run.epoch, run.iter) == (2, 6)
    return diary.lines


def test_a_new_run_has_whole_epochs(tmp_path):
    lines = go(tmp_path)
    assert [line.split(':')[:2] for line in lines if ':' in line] == [
        [f'{epoch}', f'{step}'] for epoch in range(2) for step in range(3)
    ]
    assert lines == go(tmp_path, train_cfg=dict(by_epoch=True, max_epochs=2))


def test_an_epoch_ends_though_the_sampler_does_not(tmp_path):
    assert go(tmp_path, sampler=lambda data: SeededSampler(data, seed=0, infinite=True)) == go(
        tmp_path
    )


def test_every_epoch_has_every_image_once_where_batches_are_of_one_shape(tmp_path):
    """mmdet's sampler empties what it has gathered when it is asked for more."""
    from mmdet.datasets.samplers import AspectRatioBatchSampler

    class Shaped(Numbers):
        def __len__(self):
            return 8

        def __getitem__(self, index):
            return index

        def get_data_info(self, index):
            return dict(width=1, height=1 + index % 2)

    def read(loop):
        data = Shaped()
        batches = AspectRatioBatchSampler(DefaultSampler(data, seed=0), 2)
        both = DataLoader(
            data, batch_sampler=batches, collate_fn=lambda items: dict(inputs=items)
        )
        run = runner(tmp_path, Slope(), train_dataloader=both, train_cfg=loop)
        run.register_hook(diary := Diary())
        run.train()
        return diary.lines

    assert read(LOOP) == read(dict(by_epoch=True, max_epochs=2))


@pytest.mark.parametrize(('epoch', 'step'), [(0, 1), (0, 2), (1, 3), (1, 5)])
def test_it_goes_on_at_any_step_without_loading_those_before(tmp_path, epoch, step):
    whole = go(tmp_path)
    all_loaded = list(loaded)
    assert go(tmp_path, epoch, step) == whole[step + epoch :]
    assert loaded == all_loaded[2 * step :]


def test_an_epoch_of_which_only_the_end_is_left(tmp_path):
    """Saved after the last step, before the hooks of the end of the epoch."""
    assert go(tmp_path, 0, 3) == go(tmp_path)[3:]


def test_a_sampler_that_cannot_skip_loads_and_drops(tmp_path):
    class Plain(DefaultSampler):
        def __iter__(self):
            from g2sd_mm.datasets import SampleKey

            return (SampleKey(index, 0, 0) for index in super().__iter__())

    whole = go(tmp_path, sampler=lambda data: Plain(data, seed=0))
    assert go(tmp_path, 0, 2, sampler=lambda data: Plain(data, seed=0)) == whole[2:]
    assert len(loaded) == 12


def test_it_is_mmengines_loop_to_those_who_ask():
    from mmengine.runner import EpochBasedTrainLoop

    assert issubclass(ResumableEpochLoop, EpochBasedTrainLoop)


# ResumeHook ---------------------------------------------------------------------------------------


def validating(**cfg) -> dict:
    return dict(
        train_cfg={**LOOP, **cfg},
        val_dataloader=loader(),
        val_cfg=dict(),
        val_evaluator=[],
        custom_hooks=[dict(type='ResumeHook')],
    )


@pytest.fixture(autouse=True)
def no_predictions(monkeypatch):
    from mmengine.runner import ValLoop

    def run(self):
        self.runner.call_hook('before_val')
        self.runner.call_hook('after_val')

    def __init__(self, runner, **arguments):
        self._runner = runner

    monkeypatch.setattr(ValLoop, 'run', run)
    monkeypatch.setattr(ValLoop, '__init__', __init__)


@pytest.mark.parametrize(('epoch', 'step', 'expected'), [
    (0, 0, [3, 6]),
    (0, 2, [3, 6]),
    (1, 3, [3, 6]),  # saved at the end of an epoch, whose validation comes after that
    (1, 4, [6]),  # in the next epoch: it was made
    (2, 6, [6]),  # at the very end
])
def test_a_resumed_run_makes_the_validation_that_was_due(tmp_path, epoch, step, expected):
    lines = go(tmp_path, epoch, step, **validating())
    made = [int(line.rsplit(' ', 1)[1]) for line in lines if line.startswith('validates')]
    assert made == expected


def test_a_validation_that_is_not_due_is_not_made(tmp_path):
    lines = go(tmp_path, 1, 3, **validating(val_interval=2))
    assert [line for line in lines if line.startswith('validates')] == ['validates at 6']
    assert not lines[0].startswith('validates')


def test_an_interval_of_none_is_refused_with_how_to_leave_validations_out(tmp_path):
    with pytest.raises(UserError, match=words('train_cfg.val_interval=0', 'val_dataloader=None')):
        go(tmp_path, **validating(val_interval=0))


@pytest.mark.parametrize('loop', [LOOP, dict(type='ResumableIterLoop', max_iters=6)])
def test_a_run_that_ends_before_its_first_update_is_refused(tmp_path, loop):
    wrapper = dict(optimizer=dict(type='SGD', lr=1.0), accumulative_counts=7)
    with pytest.raises(UserError, match=words('optim_wrapper.accumulative_counts=7', '6')):
        go(tmp_path, train_cfg=loop, optim_wrapper=wrapper)


def test_loops_by_iterations_likewise(tmp_path):
    run = runner(
        tmp_path, Slope(), **{
            **validating(),
            'train_cfg': dict(type='IterBasedTrainLoop', max_iters=6, val_interval=2),
        },
    )
    run.register_hook(diary := Diary())
    run._train_loop = run.build_train_loop(run._train_loop)
    run.train_loop._iter = 4
    run.train()
    made = [line for line in diary.lines if line.startswith('validates')]
    assert made == ['validates at 4', 'validates at 6']


def test_notes_go_to_the_log_and_a_new_run_takes_over(tmp_path):
    (tmp_path / 'last_checkpoint').write_text('runs/x/epoch_9.pth')
    said = []
    run = runner(tmp_path, Slope())
    run.logger.addHandler(handler := logging.Handler())
    handler.emit = lambda record: said.append(record.getMessage())
    run.logger.setLevel(logging.INFO)
    run._train_loop = run.build_train_loop(run._train_loop)
    ResumeHook(notes=['epoch_9.pth was passed over']).before_train(run)
    assert said[-2] == 'epoch_9.pth was passed over'
    assert 'new run in the work dir of an earlier one' in said[-1]
    assert 'runs/x/epoch_9.pth' in said[-1]
    assert not (tmp_path / 'last_checkpoint').exists()


def test_too_few_images_for_a_step_are_counted(tmp_path):
    data = Numbers()
    few = DataLoader(data, 8, drop_last=True)
    run = runner(tmp_path, Slope(), train_dataloader=few, train_cfg=LOOP)
    with pytest.raises(UserError, match='there are 7 training images, and a step takes 8'):
        run.train()
