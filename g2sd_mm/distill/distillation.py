"""One distiller for both stages: a student trained beside a frozen teacher.

The student of stage 1 is a masked autoencoder without a loss of its own; that of stage 2 is a stock
model of mmpretrain, mmdet or mmseg, which computes its own task losses. Taps listen to named
modules of student and teacher, and losses compare what they heard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..errors import UserError
from ..models.masking import Masking
from ..precision import full
from .labels import TeacherLabels
from .losses.classification import HardDistillationLoss
from .taps import Taps
from .teachers import Features, FrozenTeacher, build_teacher, sees_view


class Distillation(nn.Module):
    """What is added to a student: teacher, taps, adapters and losses, from one config block.

    Args:
        student: the network to listen to (not held).
        teacher: config of one, see :func:`~g2sd_mm.distill.teachers.build_teacher`, or a teacher.
        taps: tap name -> module name on both sides, or ``dict(student=..., teacher=...)``; see
            :class:`~g2sd_mm.distill.taps.Taps`.
        losses: name -> loss config. Beside the loss's own arguments: ``tap`` (compared on both
            sides), ``inputs`` (further arguments, see :meth:`_look_up`) and ``warmup`` (updates
            over which the weight grows linearly from 0). None leaves out a loss of a base config.
        adapters: tap name -> module that the student's record is passed through.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: FrozenTeacher | Mapping[str, Any],
        taps: Mapping[str, str | Mapping[str, str]],
        losses: Mapping[str, Mapping[str, Any] | None],
        adapters: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        # a plain list hides the teacher from torch; its owner moves it between devices
        self._teacher = [build_teacher(teacher) if isinstance(teacher, Mapping) else teacher]
        self.teacher.check_student(student)
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
            tap, inputs = cfg.pop('tap', None), cfg.pop('inputs', {})
            self.losses[name] = loss = MODELS.build(cfg)
            self._inputs[name] = _loss_inputs(tap, inputs, getattr(loss, 'needs_view', False))
        self.update = 0  # optimizer updates so far; LossWarmupHook keeps it
        self.labels: TeacherLabels | None = None  # of earlier runs; TeacherLabelsHook gives them

    @property
    def teacher(self) -> FrozenTeacher:
        """The teacher, which is no submodule."""
        return self._teacher[0]

    def init_weights(self) -> None:
        """Adapters that have a rule for it, after the student."""
        for adapter in self.adapters.values():
            getattr(adapter, 'init_weights', lambda: None)()

    def warmup_factor(self, name: str) -> float:
        """Share of a loss's weight that counts now: ``min(update / warmup, 1)``."""
        warmup = self._warmups[name]
        return min(self.update / warmup, 1.0) if warmup else 1.0

    def forward(
        self,
        task_losses: Callable[[], Mapping[str, Any]],
        images: Tensor,
        data_samples: Sequence | None,
        view: Masking | None = None,
    ) -> dict[str, Any]:
        """The student's own losses, and those of distillation.

        Args:
            task_losses: lets the student run on the images and gives its own losses.
            images: preprocessed images [B, 3, height, width], mixed up or not, as the student sees.
            data_samples: the batch's samples.
            view: which patches the student sees, if not all.
        """
        # first: what it takes is gone before the student keeps anything for its backward pass
        taught = self.ask_teacher(images, data_samples, view)
        with self.student_taps.record() as heard:
            own = task_losses()
        student = {tap: self._adapted(tap, value, images) for tap, value in heard.items()}
        # losses in full precision, whatever autocast or the teacher ran in
        with torch.autocast(images.device.type, enabled=False):
            batch = {} if view is None else {'view': view}
            sources = {'student': student, 'teacher': taught, 'batch': batch}
            given = {
                name: {k: full(_look_up(v, sources, data_samples)) for k, v in inputs.items()}
                for name, inputs in self._inputs.items()
            }
            added = {
                name: self.warmup_factor(name) * loss(**given[name])
                for name, loss in self.losses.items()
            }
            return {**merge_losses(own, added), **self._explained(given)}

    def _explained(self, given: Mapping[str, Mapping[str, Any]]) -> dict[str, Tensor]:
        """How good losses on features are: low ones say little, see :mod:`.explained`."""
        measures = {
            name: measure
            for name in given
            if (measure := getattr(self.losses[name], 'explained_variance', None))
        }
        several = len(measures) > 1
        ends = {name: f'_{name.removeprefix("loss_")}' if several else '' for name in measures}
        return {
            f'explained_variance{ends[name]}': measure(**given[name])
            for name, measure in measures.items()
        }

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

    def ask_teacher(
        self, images: Tensor, data_samples: Sequence | None = None, view: Masking | None = None
    ) -> dict[str, Any]:
        """What the teacher's taps record of these images, or decisions that are on file.

        With ``cls`` and ``patches`` of a teacher that answers with features.
        """
        known = self.labels.find(data_samples or ()) if self.labels else None
        if known is not None:
            (tap,) = self.teacher_taps
            # all that the loss asks of logits is which one is the largest
            return {tap: F.one_hot(known).to(images.device, torch.float32)}
        with self.teacher_taps.record() as taught:
            answer = self.teacher(images, view)
        if self.labels:
            (logits,) = taught.values()
            self.labels.keep(data_samples or (), logits.argmax(dim=1))
        return {**answer._asdict(), **taught} if isinstance(answer, Features) else taught

    def _adapted(self, tap: str, value: Any, images: Tensor) -> Any:
        adapter = self.adapters[tap] if tap in self.adapters else nn.Identity()
        width = getattr(adapter, 'token_width', None)
        if width and isinstance(value, Tensor) and width != value.shape[-1]:
            raise UserError(
                f'distillation.adapters.{tap}.in_channels={width}, and the tap hears tokens of '
                f'width {value.shape[-1]}: set it to {value.shape[-1]}'
            )
        if getattr(adapter, 'under_autocast', False):
            return full(adapter(value))
        with torch.autocast(images.device.type, enabled=False):
            return adapter(full(value))


@MODELS.register_module()
class SpecificDistiller(BaseModel):
    """The student of a config with a :class:`Distillation` beside it, in both stages.

    ``g2sd_mm.distill_config(cfg)`` makes one from a config with a ``distillation`` block. Outside
    training it behaves as the student alone. Its teacher, which torch does not see, follows it
    between devices.
    """

    teacher: FrozenTeacher

    def __init__(
        self,
        student: dict,
        teacher: Mapping[str, Any],
        data_preprocessor: dict | None = None,
        **distillation: Any,
    ) -> None:
        if data_preprocessor is not None:
            student.setdefault('data_preprocessor', data_preprocessor)
        # the order in which random weights are drawn, which seeds stand for
        built_first = build_teacher(teacher) if sees_view(teacher) else teacher
        built = MODELS.build(student)
        super().__init__(data_preprocessor=built.data_preprocessor)
        self.student = built
        self.distillation = Distillation(built, built_first, **distillation)
        object.__setattr__(self, 'teacher', self.distillation.teacher)

    @property
    def frozen_networks(self) -> tuple[nn.Module, ...]:
        """What runs beside the student without being trained, saved or synchronised."""
        return (self.teacher.model,)

    def _apply(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        module = super()._apply(fn, *args, **kwargs)
        self.teacher.to(next(self.parameters()).device)
        return module

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'
    ) -> Any:
        """The student's own answer, with distillation losses added in ``loss`` mode."""
        if mode != 'loss':
            return self.student(inputs, data_samples, mode=mode)
        draw = getattr(self.student, 'draw_view', None)
        view = draw(inputs, data_samples) if draw else None
        return self.losses(inputs, data_samples, view)

    def losses(
        self, images: Tensor, data_samples: list | None = None, view: Masking | None = None
    ) -> dict[str, Any]:
        """All losses of one batch, of a student that draws views under a given one."""
        given = {} if view is None else {'view': view}
        return self.distillation(
            lambda: self.student(images, data_samples, mode='loss', **given), images, data_samples,
            view,
        )  # fmt: skip

    def deployable_state(self) -> dict[str, Tensor]:
        """State dict of the plain student, for its own library; of stage 1 the encoder's."""
        return getattr(self.student, 'deployable_state', self.student.state_dict)()


def merge_losses(own: Mapping[str, Any], added: Mapping[str, Tensor]) -> dict[str, Any]:
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


def _loss_inputs(tap: str | None, inputs: Mapping[str, Any], needs_view: bool) -> dict[str, Any]:
    both = {'student': f'student.{tap}', 'teacher': f'teacher.{tap}'} if tap else {}
    return {**both, **({'view': 'batch.view'} if needs_view else {}), **inputs}


def _look_up(
    place: str | Sequence[str], sources: Mapping[str, Mapping], data_samples: Sequence | None
) -> Any:
    """A loss argument: ``student.TAP``, ``teacher.TAP``, ``batch.FIELD``, or the first of several.

    ``batch.view`` is the masking of both networks; a teacher that answers with features has
    ``teacher.cls`` and ``teacher.patches``.

    Raises:
        KeyError: if no tap or field of that name is there.
    """
    places = [place] if isinstance(place, str) else list(place)
    for candidate in places:
        side, _, name = candidate.partition('.')
        if name in sources.get(side, ()):
            return sources[side][name]
        if side == 'batch':
            values = [sample.get(name) for sample in data_samples or ()]
            if values and all(value is not None for value in values):
                stacked = torch.stack(values)
                return stacked.squeeze(1) if stacked.shape[1:] == (1,) else stacked
    raise KeyError(
        f'no {" or ".join(places)} for a distillation loss: there are student taps '
        f'{list(sources["student"])}, teacher taps {list(sources["teacher"])}, and batch.FIELD'
    )
