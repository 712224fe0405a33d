"""A classifier's decisions, kept on disk for runs that see the very same images again.

Augmentation, mixing and order follow from the run's seed, the epoch, the sample and the step, so
that another student (or another learning rate) trained with the same data meets the same images:
its teacher would decide the same again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


class TeacherLabels:
    """One row a step: which samples it was, and what the teacher decided of each.

    A row is a digest of the samples' seeds, which name augmentation and epoch, and a class of two
    bytes for each; rows never written take no room on the disk.

    Args:
        path: file; one for each process of a run.
        steps: steps of the run, as many rows.
        batch: samples a step.

    Attributes:
        step: of the run, counted from 0; whoever trains keeps it.
        found, asked: batches that were on file, and that the teacher was asked for.
    """

    def __init__(self, path: Path, steps: int, batch: int) -> None:
        row = np.dtype([('digest', '<u8'), ('classes', '<u2', (batch,))])
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open('ab') as file:
            file.truncate(max(path.stat().st_size, steps * row.itemsize))
        self._rows = np.memmap(path, row, mode='r+', shape=(path.stat().st_size // row.itemsize,))
        self.step = self.found = self.asked = 0

    def find(self, samples: Sequence[Any]) -> Tensor | None:
        """The teacher's classes int64 [B] of this step's samples; None if they are not on file."""
        row = self._rows[self.step]
        if row['digest'] != _digest(samples):
            return None
        self.found += 1
        return torch.from_numpy(row['classes'][: len(samples)].astype(np.int64))

    def keep(self, samples: Sequence[Any], classes: Tensor) -> None:
        """Write down the teacher's classes int64 [B]."""
        self.asked += 1
        row = self._rows[self.step : self.step + 1]
        row['digest'] = 0  # not this batch's until all of it is there
        row['classes'][0, : len(samples)] = classes.cpu().numpy()
        row['digest'] = _digest(samples)


def _digest(samples: Sequence[Any]) -> np.uint64:
    """64 bits that stand for the samples of a batch, in their order; never 0."""
    seeds = [getattr(sample, 'sample_seed', None) for sample in samples]
    if None in seeds:
        raise ValueError(
            'the teacher\'s labels can be kept only of data that can be replayed: wrap the data '
            'set in SeededDataset, with SeededSampler'
        )
    hashed = hashlib.sha256(np.array(seeds, '<i8').tobytes()).digest()
    return np.frombuffer(hashed[:8], '<u8')[0] | np.uint64(1)
