"""Stage 2, specific distillation: any task model trained beside a frozen one.

The student is a stock model of mmpretrain, mmdet or mmseg and computes its own task losses. Taps
listen to named modules of student and teacher, and losses compare what they heard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from .labels import TeacherLabels
from .losses.classification import HardDistillationLoss
from .taps import Taps
from .teacher import TeachingModel, build_task_teacher


class Distillation(nn.Module):
    """What stage 2 adds to a student: teacher, taps, adapters and losses, from one config block.

    Args:
        student: the network to listen to (not held).
        teacher: arguments of :func:`~g2sd_mm.distill.teacher.build_task_teacher`.
        taps: tap name -> module name on both sides, or ``dict(student=..., teacher=...)``.
        losses: name -> loss config. Beside the loss's own arguments: ``tap`` (compared on both
            sides), ``inputs`` (further arguments, see :meth:`_look_up`) and ``warmup`` (updates
            over which the weight grows linearly from 0). None leaves out a loss of a base config.
        adapters: tap name -> module that the student's record is passed through.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: Mapping[str, Any],
        taps: Mapping[str, str | Mapping[str, str]],
        losses: Mapping[str, Mapping[str, Any] | None],
        adapters: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        normalisation = _normalisation(student)
        # a plain list hides the teacher from torch; its owner moves it between devices
        self._teacher = [build_task_teacher(**teacher, normalisation=normalisation)]
        self.student_taps = Taps(student, _side(taps, 'student'))
        self.teacher_taps = Taps(self.teacher.model, _side(taps, 'teacher'))
        self.adapters = nn.ModuleDict({k: MODELS.build(v) for k, v in (adapters or {}).items()})
        self._inputs: dict[str, dict[str, Any]] = {}
        self._warmups: dict[str, int] = {}
        self.losses = nn.ModuleDict()
        for name, cfg in losses.items():
            if cfg is None:
                continue  # one of a base config's, left out by the config that inherits it
            if 'loss' not in name:
                raise ValueError(
                    f'a distillation loss is called {name!r}: only what has "loss" in its name is '
                    f'trained (a rule of mmengine), so call it loss_{name}'
                )
            cfg = dict(cfg)
            self._warmups[name] = cfg.pop('warmup', 0)
            self._inputs[name] = _loss_inputs(cfg.pop('tap', None), cfg.pop('inputs', {}))
            self.losses[name] = MODELS.build(cfg)
        self.update = 0  # optimizer updates so far; LossWarmupHook keeps it
        self.labels: TeacherLabels | None = None  # of earlier runs; TeacherLabelsHook gives them

    @property
    def teacher(self) -> Any:
        """The :class:`~g2sd_mm.distill.teacher.ChainTeacher`."""
        return self._teacher[0]

    def warmup_factor(self, name: str) -> float:
        """Share of a loss's weight that counts now: ``min(update / warmup, 1)``."""
        warmup = self._warmups[name]
        return min(self.update / warmup, 1.0) if warmup else 1.0

    def forward(
        self,
        task_losses: Callable[[], Mapping[str, Any]],
        images: Tensor,
        data_samples: Sequence | None,
    ) -> dict[str, Any]:
        """The student's own losses, and those of distillation.

        The teacher is asked first: what it takes while it runs is gone before the student keeps
        anything for its backward pass.

        Args:
            task_losses: lets the student run on the images and gives its own losses.
            images: preprocessed images [B, 3, height, width], mixed up or not, as the student sees.
            data_samples: the batch's samples.
        """
        taught = self._ask(images, data_samples)
        with self.student_taps.record() as heard:
            own = task_losses()
        # losses in full precision, whatever autocast or the teacher ran in
        with torch.autocast(images.device.type, enabled=False):
            student = {
                tap: self.adapters[tap](_full(value)) if tap in self.adapters else _full(value)
                for tap, value in heard.items()
            }
            sources = {'student': student, 'teacher': _full(taught)}
            added = {
                name: self.warmup_factor(name)
                * loss(**{k: _look_up(v, sources, data_samples) for k, v in inputs.items()})
                for (name, loss), inputs in zip(
                    self.losses.items(), self._inputs.values(), strict=True
                )
            }
        return together(own, added)

    def use_labels(self, labels: TeacherLabels) -> None:
        """Take the teacher's decisions from a file where it has them, and keep them where not.

        Raises:
            ValueError: if a loss needs more of the teacher than its decisions.
        """
        others = [n for n, m in self.losses.items() if not isinstance(m, HardDistillationLoss)]
        if others or len(self.teacher_taps) != 1:
            raise ValueError(
                f'a file of labels holds decisions, which is enough for one HardDistillationLoss; '
                f'here are {", ".join(others) or "several taps"}: take TeacherLabelsHook out'
            )
        self.labels = labels

    def _ask(self, images: Tensor, data_samples: Sequence | None) -> dict[str, Any]:
        """What the teacher's taps record of these images, or decisions that are on file."""
        known = self.labels.find(data_samples or ()) if self.labels else None
        if known is not None:
            (tap,) = self.teacher_taps
            # all that the loss asks of logits is which one is the largest
            return {tap: F.one_hot(known).to(images.device, torch.float32)}
        with self.teacher_taps.record() as taught:
            self.teacher(images)
        if self.labels:
            (logits,) = taught.values()
            self.labels.keep(data_samples or (), logits.argmax(dim=1))
        return taught


@MODELS.register_module()
class SpecificDistiller(TeachingModel):
    """A stock student config with a :class:`Distillation` beside it.

    ``g2sd_mm.distill_config(cfg)`` makes one from a config with a ``distillation`` block. Outside
    training it behaves as the student alone.
    """

    def __init__(
        self, student: dict, data_preprocessor: dict | None = None, **distillation: Any
    ) -> None:
        if data_preprocessor is not None:
            student.setdefault('data_preprocessor', data_preprocessor)
        built = MODELS.build(student)
        super().__init__(data_preprocessor=built.data_preprocessor)
        self.student = built
        self.distillation = Distillation(built, **distillation)
        self.set_teacher(self.distillation.teacher)

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'
    ) -> Any:
        """The student's own answer, with distillation losses added in ``loss`` mode."""
        if mode != 'loss':
            return self.student(inputs, data_samples, mode=mode)
        return self.distillation(
            lambda: self.student(inputs, data_samples, mode='loss'), inputs, data_samples
        )

    def deployable_state(self) -> dict[str, Tensor]:
        """State dict of the plain student, for its own library."""
        return self.student.state_dict()


def together(own: Mapping[str, Any], added: Mapping[str, Tensor]) -> dict[str, Any]:
    """The student's losses and those of distillation.

    mmpretrain calls its only one ``loss``, as mmengine's log calls the sum of all: it becomes
    ``loss_task``.

    Raises:
        ValueError: if a name is used on both sides.
    """
    own = {'loss_task' if name == 'loss' else name: value for name, value in own.items()}
    twice = sorted(set(own) & set(added))
    if twice:
        raise ValueError(f'the student has a loss {twice[0]} of its own: rename the one in losses')
    return {**own, **added}


def _side(taps: Mapping[str, str | Mapping[str, str]], side: str) -> dict[str, str]:
    """The modules to listen to on one side; a tap may exist on one side only."""
    modules = {tap: path if isinstance(path, str) else path.get(side) for tap, path in taps.items()}
    return {tap: path for tap, path in modules.items() if path is not None}


def _loss_inputs(tap: str | None, inputs: Mapping[str, Any]) -> dict[str, Any]:
    both = {'student': f'student.{tap}', 'teacher': f'teacher.{tap}'} if tap else {}
    return {**both, **inputs}


def _look_up(
    place: str | Sequence[str], sources: Mapping[str, Mapping], data_samples: Sequence | None
) -> Any:
    """A loss argument: ``student.TAP``, ``teacher.TAP``, ``batch.FIELD``, or the first of several.

    Raises:
        KeyError: if no tap or field of that name is there.
    """
    places = [place] if isinstance(place, str) else list(place)
    for candidate in places:
        side, _, name = candidate.partition('.')
        if side == 'batch':
            values = [sample.get(name) for sample in data_samples or ()]
            if values and all(value is not None for value in values):
                stacked = torch.stack(values)
                return stacked.squeeze(1) if stacked.shape[1:] == (1,) else stacked
        elif name in sources.get(side, ()):
            return sources[side][name]
    raise KeyError(
        f'no {" or ".join(places)} for a distillation loss: there are student taps '
        f'{list(sources["student"])}, teacher taps {list(sources["teacher"])}, and batch.FIELD'
    )


def _full(value: Any) -> Any:
    """Half-precision tensors as float32, in any nesting of dicts, lists and tuples."""
    if isinstance(value, Tensor):
        return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
    if isinstance(value, Mapping):
        return {key: _full(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, '_fields'):
        return type(value)(*map(_full, value))
    return type(value)(map(_full, value)) if isinstance(value, (list, tuple)) else value


def _normalisation(student: nn.Module) -> tuple | None:
    """(mean, std, order of channels) of the student's images, read as BGR; None for no norm."""
    preprocessor = getattr(student, 'data_preprocessor', None)
    mean, std = getattr(preprocessor, 'mean', None), getattr(preprocessor, 'std', None)
    if mean is None or std is None:
        return None
    turns = any(getattr(preprocessor, key, False) for key in ('to_rgb', '_channel_conversion'))
    order = 'RGB' if turns else 'BGR'
    return tuple(mean.flatten().tolist()), tuple(std.flatten().tolist()), order
