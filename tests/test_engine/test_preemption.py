"""A run that is asked to end saves, and goes on where it was."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from multiprocessing.util import register_after_fork
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.hooks import EMAHook, Hook

from g2sd_mm import preemption
from g2sd_mm.checkpoints.integrity import newest_whole
from g2sd_mm.compat.safe_load import load_checkpoint
from g2sd_mm.engine.hooks import saving as hook_module
from g2sd_mm.engine.hooks.saving import Agreement
from g2sd_mm.errors import Preempted

from ..helpers.runs import Slope, loader, runner
from ..helpers.toys import words


class Signalled(Hook):
    """Sends a signal to this process in a step."""

    def __init__(self, step: int, number: int) -> None:
        self.step, self.number = step, number

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.step:
            os.kill(os.getpid(), self.number)


def signalled(folder, step: int, number: int = signal.SIGTERM, **changes):
    hooks = dict(logger=None, checkpoint=dict(type='WholeCheckpointHook', interval=1))
    arguments = dict(
        custom_hooks=[dict(type='PreemptionHook')],
        default_hooks=hooks,
        train_cfg=dict(type='ResumableEpochLoop', max_epochs=2),
    )
    run = runner(folder, Slope(), **{**arguments, **changes})
    run.register_hook(Signalled(step, number))
    with preemption.listening():
        run.train()
    return run


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGUSR1])
def test_the_step_is_finished_and_saved(tmp_path, number):
    name = signal.Signals(number).name
    with pytest.raises(Preempted, match=words(f'ended by {name} after step 6', 'epoch_1_iter_6')):
        signalled(tmp_path, 5, number)
    saved = load_checkpoint(newest_whole(tmp_path)[0])
    assert (saved['meta']['epoch'], saved['meta']['iter']) == (1, 6)
    assert saved['state_dict']['weight'].item() == -6


def test_a_step_that_was_saved_anyway_is_saved_once(tmp_path):
    with pytest.raises(Preempted, match=r'after step 2, saved .*iter_2\.pth'):
        signalled(
            tmp_path, 1, train_cfg=dict(type='IterBasedTrainLoop', max_iters=4),
            default_hooks=dict(
                logger=None,
                checkpoint=dict(type='WholeCheckpointHook', interval=2, by_epoch=False),
            ),
        )
    assert [path.name for path in tmp_path.glob('*.pth')] == ['iter_2.pth']


def test_an_update_is_finished_first(tmp_path):
    with pytest.raises(Preempted, match='after step 6'):
        signalled(
            tmp_path, 3,
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.0), accumulative_counts=3),
        )
    assert load_checkpoint(newest_whole(tmp_path)[0])['state_dict']['weight'].item() == -2


def test_a_request_to_another_rank_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(hook_module.Agreement, 'any', lambda self, flag: True)
    with pytest.raises(Preempted, match='ended by a signal to another process after step 1'):
        signalled(tmp_path, 99)


def test_without_checkpoints_it_ends_all_the_same(tmp_path):
    with pytest.raises(Preempted, match='saves no checkpoints'):
        signalled(tmp_path, 1, default_hooks=dict(logger=None, checkpoint=None))


def test_a_signal_in_a_validation_is_answered_there(tmp_path):
    """With the validation's step saved, so that it is made anew."""
    saved = []
    hook = hook_module.PreemptionHook()
    hook.before_train(SimpleNamespace(cfg={}))
    batches = SimpleNamespace(dataset=range(10), batch_size=2)
    run = SimpleNamespace(
        optim_wrapper=SimpleNamespace(), val_dataloader=batches, world_size=2, epoch=1, iter=4,
        hooks=[],
    )
    hook._end = lambda runner, epoch, step: saved.append((epoch, step))
    with preemption.listening():
        hook.after_val_iter(run, 0)
        assert saved == []
        os.kill(os.getpid(), signal.SIGUSR1)
        hook.after_val_iter(run, 2)  # one rank may have no third batch
        assert saved == []
        hook.after_val_iter(run, 1)
    assert saved == [(1, 4)]


@pytest.mark.parametrize('kind', ['ExponentialMovingAverage', 'StochasticWeightAverage'])
def test_in_a_validation_of_averaged_weights_the_trained_ones_are_saved(tmp_path, kind):
    """A checkpoint has both, and a resumed run trains with what was trained."""

    class Predicting(Slope):
        def forward(self, *args, mode='tensor', **kwargs):
            return [{}] if mode == 'predict' else super().forward(*args, mode=mode, **kwargs)

    class InValidation(Hook):
        def before_val_iter(self, runner, batch_idx, data_batch=None):
            if batch_idx == 1:
                os.kill(os.getpid(), signal.SIGTERM)

    run = runner(
        tmp_path, Predicting(), val_dataloader=loader(), val_cfg={}, val_evaluator=Evaluator([]),
        custom_hooks=[dict(type='PreemptionHook'), dict(type='EMAHook', ema_type=kind)],
        default_hooks=dict(logger=None, checkpoint=dict(type='WholeCheckpointHook', interval=1)),
    )
    run.register_hook(InValidation())
    with preemption.listening(), pytest.raises(Preempted, match=r'after step 4, saved .*epoch_1'):
        run.train()
    saved = load_checkpoint(newest_whole(tmp_path)[0])
    assert saved['ema_state_dict']['module.weight'].item() == -4
    assert -4 < saved['state_dict']['weight'].item() < 0


def test_a_validation_that_is_made_twice_is_not_interrupted():
    """In its second pass the weights are exchanged back."""
    hook = hook_module.PreemptionHook()
    hook._end = lambda *_: pytest.fail('it ended')
    average = EMAHook()
    average.evaluate_on_origin = True
    dataset = SimpleNamespace(dataset=range(10), batch_size=2)
    run = SimpleNamespace(
        optim_wrapper=SimpleNamespace(), val_dataloader=dataset, world_size=1, epoch=1, iter=4,
        hooks=[average], cfg={},
    )
    hook.before_train(run)
    with preemption.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        hook.after_val_iter(run, 0)


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]
    with preemption.listening():
        assert signal.getsignal(signal.SIGTERM) is not before[0]
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1)] == before


def test_an_earlier_request_is_forgotten():
    with preemption.listening():
        os.kill(os.getpid(), signal.SIGUSR1)
        assert preemption.request() == 'SIGUSR1'
    with preemption.listening():
        assert preemption.request() == ''


def _wait_until_taken(pid: int) -> None:
    """Of two signals of a kind that wait for a process, it is given one."""
    while True:
        status = Path(f'/proc/{pid}/status').read_text().splitlines()
        pending = (int(line.split()[1], 16) for line in status if line.startswith('ShdPnd'))
        if not next(pending) & 1 << (signal.SIGTERM - 1):
            return
        time.sleep(0.01)


@pytest.mark.parametrize('block', [preemption.listening, preemption.ending_at_once])
def test_a_pool_that_a_library_makes_can_be_ended(tmp_path, block):
    """mmdet's metric of VOC makes one: it ends its workers by SIGTERM, and waits for them."""
    with block():
        pool = multiprocessing.get_context('fork').Pool(2)
        assert pool.map(abs, [-1, 2]) == [1, 2]
        workers = list(pool._pool)
        for number in ('-TERM', '-USR1'):  # of the cluster
            subprocess.run(['kill', number, str(workers[0].pid)], check=True)
        _wait_until_taken(workers[0].pid)
        assert pool.map(abs, [-1, 2]) == [1, 2] and all(worker.is_alive() for worker in workers)
        ending = threading.Thread(target=pool.terminate)
        ending.start()
        ending.join(30)  # it would take for ever
        ended = not ending.is_alive()
        alive = [Path(f'/proc/{worker.pid}/status') for worker in workers if worker.is_alive()]
        with (tmp_path / 'stacks').open('w') as file:
            faulthandler.dump_traceback(file)
        states = [(tmp_path / 'stacks').read_text(), *(status.read_text() for status in alive)]
        for worker in workers:
            worker.kill()
        ending.join()
    assert ended, '\n'.join(states)


@pytest.mark.parametrize('block', [preemption.listening, preemption.ending_at_once])
def test_a_worker_that_is_ended_while_it_starts_ends(block):
    """On a busy machine a pool's work may be done before its last worker has begun."""
    register_after_fork(slow := threading.Event(), lambda _: time.sleep(0.3))  # noqa: F841 - kept
    with block():
        worker = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))
        worker.start()
        worker.terminate()
        worker.join(10)
        code = worker.exitcode
        worker.kill()
        assert code == 0
        # here nothing is held back
        assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def _ends_its_own_process() -> None:
    process = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))
    process.start()
    process.terminate()
    process.join(30)
    ended = process.exitcode is not None
    process.kill()
    os._exit(7 if ended else 1)


def test_a_process_that_a_worker_makes_can_be_ended():
    with preemption.listening():
        worker = multiprocessing.get_context('fork').Process(target=_ends_its_own_process)
        worker.start()
        worker.join(60)
    assert worker.exitcode == 7


def test_before_it_listens_a_request_ends_at_once():
    with preemption.ending_at_once(), pytest.raises(Preempted, match='SIGUSR1'):
        os.kill(os.getpid(), signal.SIGUSR1)


def _waits_for_others(waiting: Any) -> None:
    store = torch.distributed.TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)
    with preemption.listening(), preemption.ending_while_waiting():
        waiting.set()
        store.wait(['another process'], timedelta(seconds=30))


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGUSR1])
def test_a_process_that_waits_for_others_ends_at_once(number):
    """Else one that was refused before it joined would leave them waiting for it."""
    context = multiprocessing.get_context('fork')
    process = context.Process(target=_waits_for_others, args=(waiting := context.Event(),))
    process.start()
    assert waiting.wait(30)
    os.kill(process.pid, number)
    process.join(10)
    code = process.exitcode
    process.kill()
    assert code == -number


def test_when_the_others_are_there_signals_are_answered_as_before():
    with preemption.listening():
        with preemption.ending_while_waiting():
            pass
        os.kill(os.getpid(), signal.SIGUSR1)
        assert preemption.request() == 'SIGUSR1'


def test_a_request_that_a_library_swallowed_is_not_forgotten():
    with preemption.ending_at_once():
        with contextlib.suppress(BaseException):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Preempted, match='SIGTERM'), preemption.listening():
            pass


_SLOW_TO_END = """
import atexit, os, signal
atexit.register(lambda: os.kill(os.getpid(), signal.SIGTERM))  # registered first: it comes last
from g2sd_mm.preemption import ending_at_once
with ending_at_once():
    pass
"""


def test_a_request_while_the_process_ends_changes_nothing():
    assert subprocess.run([sys.executable, '-c', _SLOW_TO_END], timeout=60).returncode == 0


def test_threads_have_no_signals():
    entered = []

    def listen():
        with preemption.listening():
            entered.append(preemption.request())

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert entered == ['']


def test_one_process_agrees_with_itself():
    alone = Agreement(timedelta(seconds=1))
    assert alone.any(True) is True
    assert alone.any(False) is False


def test_the_group_waits_no_longer_than_the_run_does(monkeypatch):
    made = {}
    monkeypatch.setattr(hook_module, 'is_distributed', lambda: True)
    monkeypatch.setattr(torch.distributed, 'new_group', lambda **options: made.update(options))
    Agreement(timedelta(seconds=15))
    assert made == {'backend': 'gloo', 'timeout': timedelta(seconds=15)}
