"""What a terminal shows of a run, on how many threads it is, and when it validates."""

from __future__ import annotations

import logging
import time
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import EarlyStoppingHook, Hook
from mmengine.registry import MODELS
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from g2sd_mm import distill_config, threads
from g2sd_mm.bench.reports.live import live_page, runs_below
from g2sd_mm.config.load import load_config
from g2sd_mm.config.parts import plain_model
from g2sd_mm.engine.hooks.console import (
    ConsoleHook,
    _schedule,
    _start,
    _what,
    base_rate,
    progress_line,
    shorten,
)
from g2sd_mm.engine.loops import ResumableEpochLoop, _ValidatesByTime
from g2sd_mm.tasks import in_units

from ..helpers.runs import loader, runner, updates
from ..helpers.toys import Lines, distiller


def test_a_terminal_gets_what_is_meant_for_it_and_what_is_wrong(tmp_path):
    logger = logging.Logger('one')
    seen, kept = [], tmp_path / 'all.log'
    terminal = logging.StreamHandler()
    terminal.emit = lambda record: seen.append(record.getMessage())
    logger.handlers = [terminal, logging.FileHandler(kept)]
    shorten(logger)
    logger.info('the whole config')
    logger.warning('one sample is unreadable')
    logger.warning('this will be deprecated')
    logger.warning('bn1.weight is skipped since its requires_grad=False')
    logger.info('epoch 1/2', extra={'shown': True})
    assert seen == ['one sample is unreadable', 'epoch 1/2']
    lines = kept.read_text().splitlines()
    assert 'the whole config' in lines and 'this will be deprecated' in lines
    assert 'epoch 1/2' not in lines


def test_a_line_of_progress_has_loss_speed_wait_and_time_left():
    state = dict(step=1250, steps=3750, epoch=3, epochs=60, loss=0.41234, images_per_second=65.2,
                 data_wait=0.021, seconds_left=725.0)  # fmt: skip
    assert progress_line(state) == (
        'epoch 3/60  1,250/3,750  loss 0.4123  65 images/s  data wait 2%  12 min 5 s left'
    )
    assert progress_line({'step': 1, 'steps': 10}) == '1/10'
    stage1 = progress_line({'step': 1, 'steps': 10, 'loss': 0.2, 'explained': 0.154})
    assert stage1 == '1/10  loss 0.2  explains 15%'


def test_figures_have_the_units_of_all_tables():
    assert in_units({'accuracy/top1': 88.271, 'mIoU': 40.0}) == ['top1 88.27 %', 'mIoU 40.00 %']
    assert in_units({'coco/bbox_mAP': 0.593, 'coco/bbox_mAP_50': 0.8}) == [
        'bbox_mAP 59.30 %', 'bbox_mAP_50 80.00 %',
    ]  # fmt: skip
    assert in_units({'coco/bbox_mAP': 0.0, 'coco/bbox_mAP_l': -1.0}) == [
        'bbox_mAP 0.00 %', 'bbox_mAP_l none',  # of objects that are not there
    ]  # fmt: skip
    assert in_units({'rmse': 0.5, 'somebodys': 2.0}) == ['rmse 0.50 m', 'somebodys 2.00']


@pytest.mark.parametrize(
    ('config', 'what'),
    [
        ('vitb_mae', 'pre-training, without labels'),
        ('g2sd_vits_generic', 'stage 1, without labels beside'),
        ('vitb_cls', 'fine-tuning, classification'),
        ('g2sd_vits_cls', 'stage 2, classification beside'),
        ('g2sd_vits_upernet', 'stage 2, segmentation beside'),
    ],
)
def test_the_block_says_what_kind_of_run_it_is(config, what):
    cfg = load_config(f'configs/shapes/{config}.py')
    said = _what(cfg, MODELS.build(plain_model(cfg)))
    assert said.startswith(f'{config}: {what}')


@pytest.mark.parametrize(
    ('config', 'start'),
    [('g2sd_plus_vits_cls', 'a slice of its teacher'), ('vits_scratch_cls', 'random weights'),
     ('g2sd_vits_cls', 'g2sd_vits_generic/weights.pth')],
)  # fmt: skip
def test_the_block_says_where_the_student_starts(config, start):
    cfg = load_config(f'configs/mini/{config}.py')
    cfg = distill_config(cfg) if cfg.get('distillation') else cfg
    assert _start(cfg).endswith(start)


def test_the_rate_that_is_told_is_the_one_that_is_trained_with(tmp_path):
    for scaling, expected in ((None, 1.0), (dict(enable=True, base_batch_size=8), 0.25)):
        told = dict(
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.0)), auto_scale_lr=scaling
        )
        run = runner(tmp_path, distiller(), train_dataloader=loader(stacked=True), cfg=told,
                     auto_scale_lr=scaling)  # fmt: skip
        rates = updates(run)
        run.train()
        assert base_rate(run) == rates[0] == expected
    run.cfg = {}
    assert base_rate(run) is None


def test_a_run_that_stopped_early_is_at_its_end(tmp_path):
    class Stop(Hook):
        def after_train_epoch(self, runner):
            runner.train_loop.stop_training = runner.epoch == 1

    run = runner(
        tmp_path, distiller(), train_dataloader=loader(stacked=True),
        train_cfg=dict(type='ResumableEpochLoop', max_epochs=5),
        custom_hooks=[Stop(), dict(type='ConsoleHook')],
        cfg=dict(train_dataloader=dict(dataset=dict(data_root='.'))),
    )
    run.train()
    (_, state), = runs_below(tmp_path)
    assert (state['step'], state['steps'], state['epoch'], state['seconds_left']) == (8, 20, 2, 0)
    assert 'left' not in progress_line(state)
    assert 'finished: epoch 2/5' in live_page(tmp_path)


def test_batches_of_a_batch_sampler_are_counted_too(tmp_path):
    """mmdet's configs have one, for images of alike shape, and loaders say no size then."""
    usual = loader(stacked=True)
    loaded = DataLoader(
        usual.dataset, collate_fn=usual.collate_fn,
        batch_sampler=BatchSampler(SequentialSampler(usual.dataset), 2, drop_last=False),
    )
    run = runner(
        tmp_path, distiller(), train_dataloader=loaded, custom_hooks=[dict(type='ThroughputHook')],
        default_hooks=dict(logger=None, timer=dict(type='IterTimerHook')),
    )
    run.train()
    scalars = run.message_hub.log_scalars
    seconds = scalars['train/time'].mean(50)
    assert scalars['train/images_per_second'].current() == pytest.approx(2 / seconds, rel=1e-3)
    assert _schedule(run).startswith('2 epochs, 8 updates of 2 images')


# Threads -----------------------------------------------------------------------------------------


@pytest.fixture
def four_cores(monkeypatch):
    set_to = []
    for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, 'cores', lambda: 4)
    monkeypatch.setattr(threads, 'load', lambda: 1.2)
    monkeypatch.setattr(torch, 'set_num_threads', set_to.append)
    monkeypatch.setattr(torch, 'get_num_threads', lambda: set_to[-1] if set_to else 9)
    return set_to


def test_a_small_network_gets_one_thread_and_a_large_one_the_free_cores(four_cores, monkeypatch):
    assert threads.use_threads(200_000).startswith('1 thread (0.2 M parameters, 4 cores')
    assert threads.use_threads(20_000_000).startswith('3 threads')
    monkeypatch.setattr(threads, 'load', lambda: 17.0)
    threads.use_threads(20_000_000)
    assert four_cores == [1, 3, 1]
    assert threads.enough_workers(8) == 1 and threads.enough_workers(0) == 0


def test_what_the_environment_says_counts(four_cores, monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '2')
    assert threads.use_threads(20_000_000) == '9 threads (OMP_NUM_THREADS)'
    assert not four_cores


def test_a_resumed_run_keeps_its_number_of_threads(four_cores):
    hook = ConsoleHook()
    hook._threads = '1 thread'
    hook.after_load_checkpoint(None, {'message_hub': {'runtime_info': {'threads': 3}}})
    assert four_cores == [3]
    hook.after_load_checkpoint(None, {'message_hub': {}})
    hook.after_load_checkpoint(None, {})
    assert four_cores == [3]


# Validation --------------------------------------------------------------------------------------


class Loop(_ValidatesByTime):
    """Ten epochs of so many seconds, each due for a validation of so many."""

    def __new__(cls, *args, **changes):
        class Base:
            def run(self):
                return None

            def _decide_current_val_interval(self):
                self.val_interval = 1

        return object.__new__(type('Loop', (Loop, Base), {'_counts': '_epoch'}))

    def __init__(self, epoch, validation, clock, hooks=(), schedules=None):
        self.epoch, self.validation, self.clock = epoch, validation, clock
        self.runner = SimpleNamespace(
            val_loop=SimpleNamespace(run=self.validate), optim_wrapper=None, hooks=hooks,
            param_schedulers=schedules, logger=logging.getLogger('validations under test'),
        )
        self.done, self.val_interval, self.max_iters = [], 1, 10

    def validate(self):
        self.clock[0] += self.validation
        self.done.append(self._epoch)

    def all(self):
        self.run()
        for self._epoch in range(1, 11):
            self.clock[0] += self.epoch
            self._decide_current_val_interval()
            if self._epoch % self.val_interval == 0 or self._epoch == 10:
                self.runner.val_loop.run()
        return self.done


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, 'monotonic', lambda: now[0])
    return now


def test_validations_take_a_tenth_of_the_time_at_most(clock):
    assert Loop(10.0, 3.0, clock).all() == [1, 4, 7, 10]


def test_quick_ones_and_the_last_one_are_never_left_out(clock):
    assert Loop(1.0, 1.5, clock).all() == list(range(1, 11))
    assert Loop(1.0, 60.0, clock).all() == [1, 10]
    assert Loop(100.0, 5.0, clock).all() == list(range(1, 11))


@pytest.mark.parametrize('changes', [
    dict(hooks=[EarlyStoppingHook('accuracy/top1')]),
    dict(schedules=[SimpleNamespace(need_val_args=True)]),
])
def test_none_is_left_out_where_training_follows_them(clock, changes):
    assert Loop(1.0, 60.0, clock, **changes).all() == list(range(1, 11))


def test_each_that_is_left_out_is_said(clock):
    loop = Loop(10.0, 3.0, clock)
    loop.runner.logger.handlers = [said := Lines()]
    loop.runner.logger.setLevel('INFO')
    made = loop.all()
    assert len(said.lines) == 10 - len(made)


def test_loops_of_runs_validate_by_time():
    assert issubclass(ResumableEpochLoop, _ValidatesByTime)
