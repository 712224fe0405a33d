"""Loader workers outlive the request to end."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Client
from multiprocessing.reduction import DupFd
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import FUNCTIONS
from torch.utils.data import DataLoader, Dataset

from g2sd_mm import preemption
from g2sd_mm.datasets import seeded as workers


class Own(Dataset):
    """Samples that say which process read them, and what its generators drew."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple:
        return os.getpid(), random.random(), np.random.rand(), torch.rand(1).item()


def loader(data: Dataset | None = None, **arguments) -> DataLoader:
    def init(worker_id: int) -> None:
        FUNCTIONS.get('patient_worker')(worker_id, **arguments)

    return DataLoader(
        data or Own(), 1, num_workers=1, worker_init_fn=init, collate_fn=lambda batch: batch[0],
        prefetch_factor=1,
    )


def test_signals_of_the_cluster_do_not_end_a_worker():
    """They come from another process."""
    batches = iter(loader())
    pid = next(batches)[0]
    for name in ('-USR1', '-TERM'):
        subprocess.run(['kill', name, str(pid)], check=True)
    assert [batch[0] for batch in batches] == [pid] * 3


def test_its_own_process_ends_it():
    batches = iter(loader())
    next(batches)
    (worker,) = batches._workers
    worker.terminate()
    worker.join(10)
    assert worker.exitcode == 0


class Large(Dataset):
    """Samples that no pipe holds, as the masks of a detection batch are."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict:
        return {'pid': os.getpid(), 'masks': np.zeros((9, 200, 200))}


def _train_and_die(sender) -> None:
    """A training process that is killed while its worker hands over a batch."""
    batches = iter(loader(data=Large()))
    sender.send(next(batches)['pid'])
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_does_not_outlive_its_process(monkeypatch):
    monkeypatch.setattr(preemption, 'LOOK', 0.2)
    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_train_and_die, args=(sender,))
    process.start()
    pid = receiver.recv()
    process.join(10)
    assert process.exitcode == -signal.SIGKILL
    end = time.perf_counter() + 4
    while Path(f'/proc/{pid}').exists() and ') Z ' not in Path(f'/proc/{pid}/stat').read_text():
        assert time.perf_counter() < end, 'the worker is still there'
        time.sleep(0.05)


def _fetch_and_die(log: Path) -> None:
    """A training process that is killed while it fetches a tensor, or one that only hangs up."""
    sys.stderr = log.open('w', buffering=1)
    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(duplex=False)
    context.Process(target=_offer, args=(sender,)).start()
    connection = Client(receiver.recv(), authkey=multiprocessing.current_process().authkey)
    if log.name == 'killed':
        os.kill(os.getpid(), signal.SIGKILL)
    connection.close()
    time.sleep(1)
    os._exit(0)


def _offer(sender) -> None:
    """A worker with a file that its process may ask for, as shared memory is handed over."""
    workers.patient_worker(0)
    (address, _) = DupFd(0)._id
    sender.send(address)
    time.sleep(30)


@pytest.mark.parametrize(('end', 'tracebacks'), [('killed', 0), ('hung_up', 1)])
def test_a_worker_says_nothing_of_a_process_that_was_killed(tmp_path, monkeypatch, end, tracebacks):
    """Nor does it hide a connection that broke while its process lives on."""
    monkeypatch.setattr(preemption, 'LOOK', 0.5)
    monkeypatch.setattr(workers, '_DYING', 0.5)
    context = multiprocessing.get_context('fork')
    process = context.Process(target=_fetch_and_die, args=(tmp_path / end,))
    process.start()
    process.join(10)
    assert process.exitcode == (-signal.SIGKILL if end == 'killed' else 0)
    time.sleep(0.3)
    assert (tmp_path / end).read_text().count('Traceback') == tracebacks


def test_its_generators_start_as_mmengine_starts_them():
    draws = [next(iter(loader(seed=seed)))[1:] for seed in (3, 3, 4)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]
    random.seed(3)
    assert draws[0][0] == random.random()
