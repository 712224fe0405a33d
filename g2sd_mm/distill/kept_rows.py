"""What a teacher's answers stand for on disk: bytes by number, and which run sees what again.

Augmentation, mixing and order follow from the run's seed, the epoch, the sample and the step, so
that another student (or another learning rate) trained with the same data meets the same images:
its teacher would say the same again.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.runner import Runner

from ..config.parts import students_in, teachers_in
from ..engine.hooks.access import bare_model
from ..errors import ConfigError
from ..provenance import READING, cache_key
from .hooks import distillations_of
from .several import listed
from .teachers.images import student_stride


class KeptRows:
    """Rows of bytes by number, in one file that several processes may read and add to at once.

    A process that is killed leaves whole rows.

    Args:
        path: of the file (SQLite's), which is made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        import sqlite3  # some builds of Python lack it, and most runs keep nothing

        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self._full = path, sqlite3.OperationalError
        self._file = sqlite3.connect(path, timeout=600)
        self._file.execute('pragma page_size = 1024')  # a row takes whole pages
        self._file.execute('pragma synchronous = off')
        self._file.execute('create table if not exists rows (key integer primary key, row blob)')

    def find(self, keys: Sequence[int]) -> list[bytes] | None:
        """Rows in the order of their numbers; None if one of them is not there."""
        found = []
        for key in keys:
            row = self._file.execute('select row from rows where key = ?', (key,)).fetchone()
            if row is None:
                return None
            found.append(row[0])
        return found

    def add(self, rows: Mapping[int, bytes]) -> None:
        """Add rows, all or none of them; of one that is there the first stays.

        Raises:
            OSError: naming the file, if the disk is full.
        """
        try:
            with self._file:
                self._file.executemany('insert or ignore into rows values (?, ?)', rows.items())
        except self._full as error:
            if 'full' not in str(error):
                raise
            number = errno.ENOSPC
            raise OSError(number, os.strerror(number), str(self.path)) from error


def keys_of(samples: Sequence[Any] | None) -> list[int]:
    """A number from 1 to 2**63 for each sample: of its file and when that was written, its
    augmentation and its epoch.

    Its seed alone would stand for another image as soon as one is added to the data.

    Raises:
        ConfigError: for samples without a seed, which cannot be replayed.
    """
    if not samples or any(getattr(sample, 'sample_seed', None) is None for sample in samples):
        raise ConfigError(
            'what a teacher says can be kept only of data that can be replayed: wrap the data set '
            'in SeededDataset (for TeacherAnswersHook with views=K), with SeededSampler'
        )
    paths = [getattr(sample, 'img_path', '') for sample in samples]
    return [
        number_of(f'{sample.sample_seed} {path} {_time_of(path)}')
        for sample, path in zip(samples, paths, strict=True)
    ]


def _time_of(path: str) -> int | None:
    """When a file was written, ns, by which one that was replaced is known; None for no file."""
    try:
        return os.stat(path).st_mtime_ns
    except (TypeError, OSError):
        return None


def number_of(text: str) -> int:
    """A number from 1 to 2**63 that stands for a text."""
    digest = hashlib.sha256(text.encode('utf-8', 'surrogateescape')).digest()
    return int.from_bytes(digest[:8], 'little') >> 1 | 1


def first_student(model: Any) -> Any:
    """A distiller's student, or the first of several: all of them see and ask the same."""
    parts = getattr(model, 'students', None)
    return (next(iter(parts.values())) if parts else model).student


def teacher_places(model: Any) -> list[list[str]]:
    """What the losses of all students take of the teacher: of each argument, the names."""
    places = [
        [name for name in listed([place]) if name.startswith('teacher.')]
        for distillation in distillations_of(model)
        for loss in distillation.losses
        for place in distillation.loss_places(loss).values()
    ]
    return sorted({tuple(names): names for names in places if names}.values())


def replayed(runner: Runner) -> str:
    """16 hex digits that stand for all that decides what the teacher sees and answers."""
    cfg, model = runner.cfg, bare_model(runner)
    metainfo = getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}
    (teacher,) = model.teachers.values()
    distiller = next(iter(students_in(cfg).values())).model  # others see and ask the same
    (config,) = teachers_in(distiller).values()
    student = distiller.get('student', {})
    parts = {
        'seed': runner.seed,
        'weights': teacher.checksum(),
        'teacher': {name: v for name, v in config.items() if name != 'checkpoint'},
        'taps': [t.paths for one in distillations_of(model) for t in one.teacher_taps.values()][:1],
        'places': teacher_places(model),
        'data': {name: v for name, v in cfg.train_dataloader.items() if name not in READING},
        # labels are numbers: with other folders or another order they are others
        'classes': metainfo.get('classes'),
        # normalisation and mixing
        'preprocessing': [student.get('data_preprocessor'), student.get('train_cfg')],
    }
    if getattr(teacher, 'prepares_images', False):  # in a size that follows the student's grid
        parts['stride'] = student_stride(first_student(model))
        parts['pixels'] = getattr(teacher, 'pixels', None)  # of a file beside its weights
    return cache_key(parts)
