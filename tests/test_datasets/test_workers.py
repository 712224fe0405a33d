"""Loader workers outlive the request to end."""

from __future__ import annotations

import os
import random
import signal
import time

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


def loader(**arguments) -> DataLoader:
    def init(worker_id: int) -> None:
        FUNCTIONS.get('patient_worker')(worker_id, **arguments)

    return DataLoader(
        Own(), 1, num_workers=1, worker_init_fn=init, collate_fn=lambda batch: batch[0],
        prefetch_factor=1,
    )


def test_signals_of_the_cluster_do_not_end_a_worker():
    batches = iter(loader())
    pid = next(batches)[0]
    for number in (signal.SIGUSR1, signal.SIGTERM):
        os.kill(pid, number)
    assert [batch[0] for batch in batches] == [pid] * 3


def test_a_worker_ends_when_its_time_is_over(monkeypatch):
    monkeypatch.setattr(workers, 'GRACE', 1)
    batches = iter(loader())
    pid = next(batches)[0]
    os.kill(pid, signal.SIGTERM)
    begun = time.perf_counter()
    while os.path.exists(f'/proc/{pid}/stat') and time.perf_counter() < begun + 10:
        if open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[0] == 'Z':
            break
        time.sleep(0.05)
    assert 0.5 < time.perf_counter() - begun < 5
    batches._workers_status[0] = False  # it is gone, and nobody shall wait for it
    batches._shutdown = True


def test_its_generators_start_as_mmengine_starts_them():
    draws = [next(iter(loader(seed=seed)))[1:] for seed in (3, 3, 4)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]
    random.seed(3)
    assert draws[0][0] == random.random()
