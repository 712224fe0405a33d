"""Loader workers outlive the request to end."""

from __future__ import annotations

import os
import random
import subprocess

import numpy as np
import torch
from mmengine.registry import FUNCTIONS
from torch.utils.data import DataLoader, Dataset

import g2sd_mm.datasets  # noqa: F401  (registers the function)


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


def test_its_generators_start_as_mmengine_starts_them():
    draws = [next(iter(loader(seed=seed)))[1:] for seed in (3, 3, 4)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]
    random.seed(3)
    assert draws[0][0] == random.random()
