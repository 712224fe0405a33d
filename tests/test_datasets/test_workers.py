"""Loader workers outlive the request to end."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import FUNCTIONS
from torch.utils.data import DataLoader, Dataset

from g2sd_mm.datasets import workers


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
    monkeypatch.setattr(workers, 'LOOK', 0.2)
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


def test_its_generators_start_as_mmengine_starts_them():
    draws = [next(iter(loader(seed=seed)))[1:] for seed in (3, 3, 4)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]
    random.seed(3)
    assert draws[0][0] == random.random()
