"""A classifier's decisions, kept on disk for runs that see the very same images again.

Augmentation, mixing and order follow from the run's seed, the epoch, the sample and the step, so
that another student (or another learning rate) trained with the same data meets the same images:
its teacher would decide the same again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from ..config.parts import students_in, teachers_in
from ..engine.hooks.access import bare_model
from ..engine.hooks.resuming import StepSeedHook
from ..engine.position import images_of_iteration
from ..errors import ConfigError
from ..provenance import READING, cache_key
from .distillation import Distillation
from .hooks import distillations_of
from .losses.classification import HardDistillationLoss
from .several import listed
from .teachers.images import student_stride


class TeacherLabels:
    """One row a step: which samples it was, and what the teacher decided of each.

    A row is a digest of the samples' keys (:func:`keys_of`), and a class of two bytes for each;
    rows never written take no room on the disk.

    Args:
        path: file; one for each process of a run.
        steps: steps of the run, as many rows.
        batch: samples a step.
        tap: that hears the teacher's logits.

    Attributes:
        step: of the run, counted from 0; whoever trains keeps it.
        found, asked: batches that were on file, and that the teacher was asked for.
    """

    def __init__(self, path: Path, steps: int, batch: int, tap: str = 'logits') -> None:
        row = np.dtype([('digest', '<u8'), ('classes', '<u2', (batch,))])
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open('ab') as file:
            file.truncate(max(path.stat().st_size, steps * row.itemsize))
        self._rows = np.memmap(path, row, mode='r', shape=(path.stat().st_size // row.itemsize,))
        self.tap = tap
        self.step = self.found = self.asked = 0

    def find(
        self, samples: Sequence[Any] | None, device: torch.device | str = 'cpu'
    ) -> dict[str, Tensor] | None:
        """What stands for the logits of this step's samples, [B, K]; None if it is not on file.

        All that the loss asks of logits is which one is the largest.
        """
        row = self._rows[self.step]
        if row['digest'] != _number(str(keys_of(samples))):
            return None
        self.found += 1
        classes = torch.from_numpy(row['classes'][: len(samples or ())].astype(np.int64))
        return {self.tap: F.one_hot(classes).to(device, torch.float32)}

    def keep(self, samples: Sequence[Any] | None, taught: Mapping[str, Tensor]) -> None:
        """Write down what the teacher decided by its logits [B, K]."""
        self.asked += 1
        row = np.zeros(1, self._rows.dtype)
        row['classes'][0, : len(samples or ())] = taught[self.tap].argmax(dim=1).cpu().numpy()
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
        _number(f'{sample.sample_seed} {path} {_time_of(path)}')
        for sample, path in zip(samples, paths, strict=True)
    ]


def _time_of(path: str) -> int | None:
    """When a file was written, ns, by which one that was replaced is known; None for no file."""
    try:
        return os.stat(path).st_mtime_ns
    except (TypeError, OSError):
        return None


def _number(text: str) -> int:
    digest = hashlib.sha256(text.encode('utf-8', 'surrogateescape')).digest()
    return int.from_bytes(digest[:8], 'little') >> 1 | 1


def tap_of_decisions(distillation: Distillation) -> str:
    """The one tap on the teacher, where its decisions are all that losses need.

    Raises:
        ValueError: if a loss needs more of the teacher.
    """
    losses = distillation.losses.items()
    others = [name for name, loss in losses if not isinstance(loss, HardDistillationLoss)]
    taps = [tap for heard in distillation.teacher_taps.values() for tap in heard]
    if others or len(taps) != 1 or list(distillation.teachers) != [''] or distillation.patches:
        raise ValueError(
            'a file of labels holds decisions, which is enough for one HardDistillationLoss; '
            f'here are {", ".join(others) or "several taps or teachers, or teacher_patches"}: '
            'take TeacherLabelsHook out'
        )
    return taps[0]


@HOOKS.register_module()
class TeacherLabelsHook(Hook):
    """The teacher of hard-label distillation is asked once for every image that it ever sees.

    What decides its answers names a folder of the kept ones: runs that agree in it share them.
    About 2 bytes an image and epoch: 0.5 GB for 200 epochs of ImageNet.

    Args:
        folder: where the labels are kept.
    """

    _labels: TeacherLabels  # from the start of training on

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def before_train(self, runner: Runner) -> None:
        """Open this process's file; ValueError if labels do not do, or cannot be replayed."""
        if not any(isinstance(hook, StepSeedHook) for hook in runner.hooks):
            raise ValueError(
                'TeacherLabelsHook keeps labels by step, and without StepSeedHook a step has other '
                "images each time: add dict(type='StepSeedHook') to custom_hooks"
            )
        distillation = bare_model(runner).distillation
        tap = tap_of_decisions(distillation)
        batch = images_of_iteration(runner.train_dataloader)
        processes = get_world_size()
        path = self.folder / replayed(runner) / f'rank{get_rank()}of{processes}x{batch}.labels'
        self._labels = distillation.kept = TeacherLabels(path, runner.max_iters, batch, tap)
        runner.logger.info('the decisions of the teacher are kept in %s', path)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Turn to the row of this step."""
        self._labels.step = runner.iter

    def after_train(self, runner: Runner) -> None:
        """Say how often the teacher was spared."""
        runner.logger.info(
            'of %d batches the labels were on file, for %d the teacher was asked',
            self._labels.found, self._labels.asked,
        )


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
