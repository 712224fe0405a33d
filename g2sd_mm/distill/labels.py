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
        self._rows = np.memmap(path, row, mode='r', shape=(path.stat().st_size // row.itemsize,))
        self.step = self.found = self.asked = 0

    def find(self, samples: Sequence[Any]) -> Tensor | None:
        """The teacher's classes int64 [B] of this step's samples; None if they are not on file."""
        row = self._rows[self.step]
        if row['digest'] != _number(str(keys_of(samples))):
            return None
        self.found += 1
        return torch.from_numpy(row['classes'][: len(samples)].astype(np.int64))

    def keep(self, samples: Sequence[Any], classes: Tensor) -> None:
        """Write down the teacher's classes int64 [B]."""
        self.asked += 1
        row = np.zeros(1, self._rows.dtype)
        row['classes'][0, : len(samples)] = classes.cpu().numpy()
        row['digest'] = _number(str(keys_of(samples)))
        write_rows(self._rows, self.step, row)


def write_rows(file: np.memmap, number: int, rows: np.ndarray) -> None:
    """Write rows [M, ...] from a number on, in the place of what a file has there.

    Not through the memory that it is mapped to: a full disk would end the process without a word.

    Raises:
        OSError: naming the file, if the disk is full.
    """
    path = str(file.filename)
    try:
        with open(path, 'r+b') as out:
            out.seek(number * rows[0].nbytes)
            out.write(rows.tobytes())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


def keys_of(samples: Sequence[Any] | None) -> list[int]:
    """A number from 1 to 2**63 for each sample: of its file, its augmentation and its epoch.

    Its seed alone would stand for another image as soon as one is added to the data.

    Raises:
        ConfigError: for samples without a seed, which cannot be replayed.
    """
    if not samples or any(getattr(sample, 'sample_seed', None) is None for sample in samples):
        raise ConfigError(
            'what a teacher says can be kept only of data that can be replayed: wrap the data set '
            'in SeededDataset (for TeacherAnswersHook with views=K), with SeededSampler'
        )
    return [_number(f'{s.sample_seed} {getattr(s, "img_path", "")}') for s in samples]


def _number(text: str) -> int:
    digest = hashlib.sha256(text.encode('utf-8', 'surrogateescape')).digest()
    return int.from_bytes(digest[:8], 'little') >> 1 | 1
