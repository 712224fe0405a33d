"""How this project computes a training step, in parts that can be timed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from g2sd_mm.distill import SpecificDistiller
from g2sd_mm.engine.hooks.access import frozen_networks
from g2sd_mm.engine.hooks.compile import compile_blocks

from . import extras
from .build import build_model, build_optimizer, stage_config, synchronise
from .pairing import Task
from .stages import Stage

PARTS = ('step', 'teacher', 'student')


@dataclass(frozen=True)
class Variant:
    """Precision of student and teacher, whether their blocks are compiled, and one option more.

    ``extra`` is a name of :data:`benchmarks.speed.extras.EXTRAS`.
    """

    dtype: str = 'float32'
    compiled: bool = False
    extra: str | None = None

    @property
    def name(self) -> str:
        """For tables: ``bfloat16, compiled``."""
        parts = (self.dtype, 'compiled' if self.compiled else None, self.extra)
        return ', '.join(filter(None, parts))

    def fits(self, task: str) -> bool:
        """Whether the stages of a task have its option."""
        return self.extra is None or task in extras.EXTRAS[self.extra].tasks


class Formulation:
    """A stage's distiller, or plain model, and its optimizer on one device.

    A plain model has no part but ``step``.

    Args:
        stage, size: what is trained, see :mod:`benchmarks.speed.stages`.
        device: ``cpu`` or ``cuda``.
        variant: precision, and whether to compile.
    """

    def __init__(
        self, stage: Stage, size: str = 'full', device: str = 'cpu', variant: Variant | None = None
    ) -> None:
        variant = variant or Variant()
        self.device = device
        self.cfg = stage_config(stage, size, teacher_dtype=variant.dtype)
        self._adjust(self.cfg)
        extras.change_config(self.cfg, stage.task, variant.extra)
        self.model = build_model(self.cfg, device)
        self.optimizer = build_optimizer(self.cfg, self.model, variant.dtype)
        extras.change_model(self.model, variant.extra)
        if variant.compiled:
            compile_blocks(self.model, *frozen_networks(self.model))

    def _adjust(self, cfg: Any) -> None:
        """What the config needs for this formulation; nothing here."""

    def prepare(self, part: str, batch: dict[str, Any]) -> Any:
        """What :meth:`run` takes, of a raw batch that stays as it is; not timed."""
        batch = copy.deepcopy(batch)  # preprocessors write into the samples
        if part == 'step':
            return batch
        with torch.no_grad():
            ready = self.model.data_preprocessor(batch, True)
        if part == 'student' and self._draws_views:
            view = self._view(ready)
            answer = self.model.distillation.ask_teacher(ready['inputs'], view=view)
            return ready, view, answer
        return ready

    def run(self, part: str, ready: Any) -> None:
        """Compute one of :data:`PARTS` and wait until it is done.

        ``step``: preprocessing, teacher, student, backward pass, update. ``teacher``: all that is
        asked of the teacher. ``student``: its forward and backward pass, without the teacher (in
        stage 2 on its own losses).
        """
        getattr(self, f'_{part}')(ready)
        synchronise(self.device)

    def timed(self, part: str, batch: dict[str, Any]) -> Task:
        """:meth:`run` of a raw batch, as :func:`~benchmarks.speed.pairing.alternate` takes it."""

        def prepare() -> Callable[[], None]:
            ready = self.prepare(part, batch)
            return lambda: self.run(part, ready)

        return prepare

    def _step(self, batch: dict[str, Any]) -> None:
        self.model.train_step(batch, self.optimizer)

    def _teacher(self, ready: dict[str, Any]) -> None:
        view = self._view(ready) if self._draws_views else None
        self.model.teacher(ready['inputs'], view)

    def _student(self, ready: Any) -> None:
        with self.optimizer.optim_context(self.model):
            if self._draws_views:
                ready, view, answer = ready
                with _teacher_says(self.model, answer):
                    losses = self.model.losses(ready['inputs'], view=view)
            else:
                losses = self.model.student(**ready, mode='loss')
        self.model.parse_losses(losses)[0].backward()
        self.optimizer.zero_grad()

    @property
    def _draws_views(self) -> bool:
        """Of stage 1, whose student has no loss without its teacher."""
        return hasattr(self.model.student, 'draw_view')

    def _view(self, ready: dict[str, Any]) -> Any:
        return self.model.student.draw_view(ready['inputs'], ready['data_samples'])


class _teacher_says:
    """The distiller's teacher gives one answer, without computing it, inside a block."""

    def __init__(self, model: SpecificDistiller, answer: Any) -> None:
        self.distillation: Any = model.distillation
        self.answer = answer

    def __enter__(self) -> None:
        self.distillation.ask_teacher = lambda *_: self.answer

    def __exit__(self, *_: object) -> None:
        del self.distillation.ask_teacher  # the class's own shows again
