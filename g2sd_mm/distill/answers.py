"""A teacher's answers on disk, for small data sets: each image is asked about once a view.

What a teacher says of an image depends on the crop, the colours and the mask that the image has in
this epoch. With ``views=K`` of :class:`~g2sd_mm.datasets.seeded.SeededDataset` each image has K of
them, over and over: after K epochs every answer is on disk, and the teacher is not run any more.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import Timeout
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from ..engine.hooks.access import bare_model
from ..errors import UserError
from ..lock import file_lock
from ..whole_files import write_text
from .hooks import distillations_of
from .labels import first_student, keys_of, replayed, teacher_places, write_rows
from .several_students import VIEW
from .teachers import Features

_GB = 1e9


class TeacherAnswers:
    """One row a sample and view: its key, and a tensor of each part of the answer.

    Rows are filled in the order in which they are asked for; those never filled take no room.

    Args:
        folder: of the files; a process's own, and of these ``places`` alone.
        rows: samples x views.
        limit: bytes that all rows may take.
        places: what losses take of the teacher, the names of each argument.

    Attributes:
        found, asked: batches that were on disk, and that the teacher was asked for.
    """

    def __init__(
        self, folder: Path, rows: int, limit: float, places: Sequence[Sequence[str]]
    ) -> None:
        self.folder, self.rows, self.limit, self.places = folder, rows, limit, places
        self.found = self.asked = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._keys = self._file('keys', np.dtype('<i8'), ())
        filled = np.flatnonzero(self._keys)
        self._row = dict(zip(self._keys[filled].tolist(), filled.tolist(), strict=True))
        self._parts: dict[str, tuple[np.memmap, torch.dtype]] = {}
        self._about = folder / 'parts.json'
        if self._about.is_file():
            self._open(json.loads(self._about.read_text()))
        self._next = int(filled[-1]) + 1 if len(filled) else 0

    def _file(self, name: str, kind: np.dtype, shape: tuple[int, ...]) -> np.memmap:
        path = self.folder / f'{name}.bin'
        size = self.rows * kind.itemsize * int(np.prod(shape, dtype=np.int64))
        with path.open('ab') as file:
            file.truncate(size)
        return np.memmap(path, kind, mode='r', shape=(self.rows, *shape))

    def find(self, samples: Sequence[Any] | None, device: torch.device) -> dict[str, Any] | None:
        """What the teacher said of these samples; None if one of them is not kept yet."""
        keys = keys_of(samples)
        if not self._parts or any(key not in self._row for key in keys):
            return None
        rows = [self._row[key] for key in keys]
        self.found += 1
        parts: dict[str, Any] = {
            name: torch.from_numpy(np.asarray(file[rows])).view(dtype).to(device)
            for name, (file, dtype) in self._parts.items()
        }
        if 'patches' in parts:
            features = Features(parts.get('cls'), parts['patches'])
            parts |= {**features._asdict(), 'features': features}
        return parts

    def keep(self, samples: Sequence[Any] | None, taught: Mapping[str, Any]) -> None:
        """Write down the parts of an answer that the losses take, each [B, ...].

        Raises:
            UserError: if all of them would take more than the limit, or than the disk has.
            OSError: if the disk is full.
        """
        self.asked += 1
        answer = self._asked_for(taught)
        on_host = {name: tensor.detach().cpu().contiguous() for name, tensor in answer.items()}
        if not self._parts:
            self._begin(on_host)
        new = {key: n for n, key in enumerate(keys_of(samples)) if key not in self._row}
        keys = list(new)[: self.rows - self._next]
        if not keys:
            return
        for name, (file, _) in self._parts.items():
            write_rows(file, self._next, _as_numpy(on_host[name][[new[key] for key in keys]]))
        # last: a row with a key is whole
        write_rows(self._keys, self._next, np.array(keys, '<i8'))
        self._row |= {key: self._next + n for n, key in enumerate(keys)}
        self._next += len(keys)

    def _asked_for(self, taught: Mapping[str, Any]) -> dict[str, Tensor]:
        """The parts of an answer that the losses take; features as their tensors."""
        asked: set[str] = set()
        for names in self.places:
            known = (name.removeprefix('teacher.') for name in names)
            asked |= set([n for n in known if n in taught or n == 'tokens'][:1])
        if asked & {'features', 'tokens'} - set(taught) or 'features' in asked:
            asked = (asked - {'features', 'tokens'}) | {'cls', 'patches'}
        parts = {name: taught[name] for name in sorted(asked) if taught[name] is not None}
        for name, part in parts.items():
            if not isinstance(part, Tensor):
                raise UserError(
                    f'TeacherAnswersHook keeps tensors, and the tap {name} hears several: leave '
                    'the hook out of custom_hooks'
                )
        return parts

    def _begin(self, answer: Mapping[str, Tensor]) -> None:
        size = self.rows * sum(t[0].numel() * t.element_size() for t in answer.values())
        free = shutil.disk_usage(self.folder).free
        if size > min(self.limit, free):
            raise UserError(
                f"the teacher's answers to {self.rows} views of images take {size / _GB:.1f} GB, "
                f'and {self.folder} has {free / _GB:.1f} GB free, of which TeacherAnswersHook may '
                f'use {self.limit / _GB:.1f}: fewer views in train_dataloader.dataset, a larger '
                'limit_gb, or no TeacherAnswersHook'
            )
        parts = {
            name: (str(tensor.dtype).removeprefix('torch.'), list(tensor.shape[1:]))
            for name, tensor in answer.items()
        }
        self._open(parts)
        write_text(self._about, json.dumps(parts))

    def _open(self, parts: Mapping[str, Sequence[Any]]) -> None:
        for name, (dtype, shape) in parts.items():
            kind = getattr(torch, dtype)
            numbers = _as_numpy(torch.empty(0, dtype=kind)).dtype
            self._parts[name] = self._file(name, numbers, tuple(shape)), kind


def _as_numpy(tensor: Tensor) -> np.ndarray:
    # numpy has no such type: it is kept as its bits
    return (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _for_this_process(folder: Path, held: ExitStack) -> Path:
    """The folder, or one beside it while a run of another process fills it: rows of both would be
    taken for each other's. What is held ends with this process at the latest."""
    number = 1
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(Timeout):
            held.enter_context(file_lock(folder / '.lock', 0))
            return folder
        number += 1
        folder = folder.with_name(f'{folder.name.partition("_")[0]}_{number}')


@HOOKS.register_module()
class TeacherAnswersHook(Hook):
    """Keeps what the losses ask of the teacher, and spares it where that is on disk.

    What decides the answers (teacher, data, seed, views, masks) names a folder, so that runs of
    other students share them. The log says what all of them take.

    Args:
        folder: of all answers.
        limit_gb: what the answers of this run may take; beyond, it stops before the first step.
    """

    _answers: TeacherAnswers  # from the start of training on
    _held: ExitStack

    def __init__(self, folder: str, limit_gb: float = 20.0) -> None:
        self.folder, self.limit = Path(folder), limit_gb * _GB

    def before_train(self, runner: Runner) -> None:
        """Open this process's files.

        Raises:
            UserError: if images differ from epoch to epoch, or teachers are asked by name.
        """
        views = getattr(runner.train_dataloader.dataset, 'views', None)
        if not views:
            raise UserError(
                'TeacherAnswersHook: images are augmented anew in every epoch, so no answer comes '
                'twice: give train_dataloader.dataset (of type SeededDataset) views=K, or leave '
                'the hook out of custom_hooks'
            )
        model = bare_model(runner)
        first, student = distillations_of(model)[0], first_student(model)
        if getattr(student.data_preprocessor, 'batch_augments', None):
            raise UserError(
                'TeacherAnswersHook: images are mixed with others (model.train_cfg.augments), so '
                'no answer comes twice: set it to None, or leave the hook out of custom_hooks'
            )
        if list(first.teachers) != [''] or first.drop is not None or first.patches is not None:
            raise UserError(
                'TeacherAnswersHook is for one teacher that sees what is the same in each pass, '
                'not for distillation.teachers or teacher_patches: leave it out of custom_hooks'
            )
        masks = [getattr(student, key, None) for key in VIEW]
        rows = views * len(runner.train_dataloader.dataset)
        name = '_'.join(map(str, ['answers', replayed(runner), rows, *masks]))
        self._held = ExitStack()
        rank = f'rank{get_rank()}of{get_world_size()}'
        own = _for_this_process(self.folder / name / rank, self._held)
        self._answers = first.kept = TeacherAnswers(own, rows, self.limit, teacher_places(model))
        runner.logger.info("the teacher's answers are kept in %s, %d of them", own, rows)

    def after_train(self, runner: Runner) -> None:
        """Say how often the teacher was spared."""
        self._held.close()
        runner.logger.info(
            "of %d batches the teacher's answers were on disk, for %d it was asked",
            self._answers.found, self._answers.asked,
        )
