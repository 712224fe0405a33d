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

from ..errors import ConfigError


class TeacherLabels:
    """One row a step: which samples it was, and what the teacher decided of each.

    A row is a digest of the samples' keys (:func:`keys_of`), and a class of two bytes for each;
    rows never written take no room on the disk.

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
        self._path = path
        self._rows = np.memmap(path, row, mode='r', shape=(path.stat().st_size // row.itemsize,))
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
        row = np.zeros(1, self._rows.dtype)
        row['classes'][0, : len(samples)] = classes.cpu().numpy()
        row['digest'] = _digest(samples)
        write_rows(self._path, self.step, row)


def write_rows(path: Path, number: int, rows: np.ndarray) -> None:
    """Write rows [M, ...] of a file from a number on, in the place of what is there.

    Not through memory that the file is mapped to: a full disk would end the process without a word.

    Raises:
        OSError: naming the file, if the disk is full.
    """
    try:
        with path.open('r+b') as file:
            file.seek(number * rows[0].nbytes)
            file.write(rows.tobytes())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def keys_of(samples: Sequence[Any] | None) -> list[int]:
    """A number below 2**63 for each sample, never 0: of its file, its augmentation and its epoch.

    Its seed alone would stand for another image as soon as one is added to the data.

    Raises:
        ConfigError: for samples without a seed, which cannot be replayed.
    """
    seeds = [getattr(sample, 'sample_seed', None) for sample in samples or ()]
    if not seeds or None in seeds:
        raise ConfigError(
            'what a teacher says can be kept only of data that can be replayed: wrap the data set '
            'in SeededDataset (for TeacherAnswersHook with views=K), with SeededSampler'
        )
    return [
        _number(f'{seed} {getattr(sample, "img_path", "")}') >> 1 | 1
        for seed, sample in zip(seeds, samples or (), strict=True)
    ]


def _digest(samples: Sequence[Any]) -> np.uint64:
    """64 bits that stand for the samples of a batch, in their order; never 0."""
    return np.uint64(_number(str(keys_of(samples))) | 1)


def _number(text: str) -> int:
    """64 bits that stand for a text."""
    digest = hashlib.sha256(text.encode('utf-8', 'surrogateescape')).digest()
    return int.from_bytes(digest[:8], 'little')
