"""A teacher's answers on disk: it is asked once about what it will be shown again.

What a teacher says of an image depends on the crop, the colours and the mask that the image has in
this epoch. With ``views=K`` of :class:`~g2sd_mm.datasets.seeded.SeededDataset` each image has K of
them, over and over: after K epochs every answer is on disk, and the teacher is not run any more.
Without, and where images are mixed, another run with the same data and seed meets the same images
in each of its steps.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from safetensors.torch import load, save
from torch import Tensor

from ..engine.hooks.access import bare_model
from ..engine.hooks.resuming import StepSeedHook
from ..engine.position import images_of_iteration
from ..errors import UserError
from .distillation import Distillation
from .hooks import distillations_of
from .kept_rows import KeptRows, first_student, keys_of, number_of, replayed, teacher_places
from .losses.classification import HardDistillationLoss
from .losses.common import check_choice
from .several_students import VIEW
from .teachers import Features

_GB = 1e9


class TeacherAnswers:
    """One row a sample and view, or a step: a tensor of each part of the answer.

    Args:
        path: of the file; the processes of a machine may share it.
        rows: samples that are shown: times their views, or of all steps.
        limit: bytes that all of them may take.
        places: what losses take of the teacher, the names of each argument.
        by_step: a row is of all samples of a step, which are mixed with each other.
        decisions: tap of logits of which only the largest counts, and is kept.

    Attributes:
        step: of the run, counted from 0; whoever trains keeps it.
        found, asked: batches that were on disk, and that the teacher was asked for.
    """

    def __init__(
        self,
        path: Path,
        rows: int,
        limit: float,
        places: Sequence[Sequence[str]],
        by_step: bool = False,
        decisions: str = '',
    ) -> None:
        self.path, self.rows, self.limit, self.places = path, rows, limit, places
        self.by_step, self.decisions = by_step, decisions
        self.step = self.found = self.asked = 0
        self._kept, self._checked = KeptRows(path), False

    def _keys(self, samples: Sequence[Any] | None) -> list[int]:
        keys = keys_of(samples)
        return [number_of(f'{self.step} {keys}')] if self.by_step else keys

    def find(self, samples: Sequence[Any] | None, device: torch.device) -> dict[str, Any] | None:
        """What the teacher said of these samples; None if one of them is not kept yet."""
        rows = self._kept.find(self._keys(samples))
        if rows is None:
            return None
        self.found += 1
        answers = [load(row) for row in rows]
        parts: dict[str, Any] = {
            name: torch.cat([answer[name] for answer in answers]).to(device) for name in answers[0]
        }
        if self.decisions:
            parts = {tap: F.one_hot(part.long()).float() for tap, part in parts.items()}
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
        answer = {name: part.detach().cpu() for name, part in self._asked_for(taught).items()}
        if not self._checked:
            self._check(answer)
        if self.path.stat().st_size >= self.limit:  # images that were replaced are more than rows
            return
        numbers = range(len(samples or ()))
        pieces = [slice(None)] if self.by_step else [slice(n, n + 1) for n in numbers]
        self._kept.add({
            key: save({name: part[piece].clone() for name, part in answer.items()})
            for key, piece in zip(self._keys(samples), pieces, strict=True)
        })  # fmt: skip

    def _asked_for(self, taught: Mapping[str, Any]) -> dict[str, Tensor]:
        """The parts of an answer that the losses take; features as their tensors."""
        if self.decisions:
            return {self.decisions: taught[self.decisions].argmax(dim=1).int()}
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

    def _check(self, answer: Mapping[str, Tensor]) -> None:
        size = self.rows * sum(t[0].numel() * t.element_size() for t in answer.values())
        free = shutil.disk_usage(self.path.parent).free + self.path.stat().st_size
        if size > min(self.limit, free):
            raise UserError(
                f"the teacher's answers to {self.rows} images take {size / _GB:.1f} GB, "
                f'and {self.path.parent} has {free / _GB:.1f} GB for them, of which '
                f'TeacherAnswersHook may use {self.limit / _GB:.1f}: fewer views in '
                'train_dataloader.dataset, a larger limit_gb, or no TeacherAnswersHook'
            )
        self._checked = True


def tap_of_decisions(*distillations: Distillation) -> str:
    """The one tap on the teacher, where its decisions are all that losses need; else empty."""
    taps = {tap for one in distillations for heard in one.teacher_taps.values() for tap in heard}
    losses = (loss for one in distillations for loss in one.losses.values())
    hard = all(isinstance(loss, HardDistillationLoss) for loss in losses)
    return taps.pop() if hard and len(taps) == 1 else ''


@HOOKS.register_module()
class TeacherAnswersHook(Hook):
    """Keeps what the losses ask of the teacher, and spares it where that is on disk.

    What decides the answers (teacher, data, seed, views, masks) names a folder, so that runs of
    other students share them. The log says what all of them take. Of hard labels 4 bytes an image
    and step are kept.

    Args:
        folder: of all answers.
        limit_gb: what the answers of this run may take; beyond, it stops before the first step.
        by: ``view``: of images that have a few views each, in any run; ``step``: for runs that meet
            the same images, mixed or not, in the same steps.
    """

    _answers: TeacherAnswers  # from the start of training on

    def __init__(self, folder: str, limit_gb: float = 20.0, by: str = 'view') -> None:
        check_choice('TeacherAnswersHook.by', by, ('view', 'step'))
        self.folder, self.limit, self.by_step = Path(folder), limit_gb * _GB, by == 'step'

    def before_train(self, runner: Runner) -> None:
        """Open the file.

        Raises:
            UserError: if no image comes again as it was, or teachers are asked by name.
        """
        loader, model = runner.train_dataloader, bare_model(runner)
        students, student = distillations_of(model), first_student(model)
        first, decisions = students[0], tap_of_decisions(*students)
        if list(first.teachers) != [''] or first.drop is not None or first.patches is not None:
            raise UserError(
                'TeacherAnswersHook is for one teacher that sees what is the same in each pass, '
                'not for distillation.teachers or teacher_patches: leave it out of custom_hooks'
            )
        if self.by_step:
            if not any(isinstance(hook, StepSeedHook) for hook in runner.hooks):
                raise UserError(
                    "TeacherAnswersHook(by='step'): without StepSeedHook a step has other images "
                    "each time: add dict(type='StepSeedHook') to custom_hooks"
                )
            batch, file = images_of_iteration(loader), f'rank{get_rank()}of{get_world_size()}'
            rows, shown = runner.max_iters * batch, f'steps_of_{batch}'
        else:
            rows = _views(loader.dataset, student) * len(loader.dataset)
            # an image comes to another process the next time; files are shared within a machine
            machine = os.environ.get('GROUP_RANK') or os.environ.get('SLURM_NODEID', '0')
            shown, file = str(rows), f'machine{machine}'
        masks = [getattr(student, key, None) for key in VIEW]
        what = 'decisions' if decisions else 'answers'
        name = '_'.join(map(str, [what, replayed(runner), shown, *masks]))
        self._answers = first.kept = TeacherAnswers(
            self.folder / name / f'{file}.sqlite', rows, self.limit, teacher_places(model),
            self.by_step, decisions,
        )  # fmt: skip
        runner.logger.info(
            "the teacher's answers are kept in %s, %d of them", self._answers.path, rows
        )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Turn to this step."""
        self._answers.step = runner.iter

    def after_train(self, runner: Runner) -> None:
        """Say how often the teacher was spared."""
        runner.logger.info(
            "of %d batches the teacher's answers were on disk, for %d it was asked",
            self._answers.found, self._answers.asked,
        )


def _views(dataset: Any, student: Any) -> int:
    """How many of each image there are."""
    views: int | None = getattr(dataset, 'views', None)
    if not views:
        raise UserError(
            'TeacherAnswersHook: images are augmented anew in every epoch, so no answer comes '
            'twice: give train_dataloader.dataset (of type SeededDataset) views=K, or leave '
            'the hook out of custom_hooks'
        )
    if getattr(student.data_preprocessor, 'batch_augments', None):
        raise UserError(
            'TeacherAnswersHook: images are mixed with others (model.train_cfg.augments), so '
            'no answer comes twice: set it to None, or leave the hook out of custom_hooks'
        )
    return views
