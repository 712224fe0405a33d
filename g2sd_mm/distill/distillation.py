"""What is added to a student: teachers, taps, adapters and losses.

Taps listen to named modules of student and teachers, and losses compare what they heard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..errors import UserError
from ..models.masking import Masking
from ..precision import full
from . import attended
from .adapters import check_width
from .loss_inputs import (
    argument,
    check_trained,
    loss_inputs,
    naming_loss,
    with_features,
)
from .losses.standardisation import measured_target
from .several import (
    TeacherDrop,
    check_names,
    flat,
    owner,
    some_images,
    teacher_of_loss,
)
from .taps import Taps, side_of
from .teachers import Features, FrozenTeacher, build_teacher
from .teachers.images import student_stride

if TYPE_CHECKING:
    from .answers import TeacherAnswers


class Distillation(nn.Module):
    """What is added to a student: teachers, taps, adapters and losses, from one config block.

    Args:
        student: the network to listen to (not held).
        teacher: config of one, see :func:`~g2sd_mm.distill.teachers.build_teacher`, or a teacher.
        taps: tap name -> module name on both sides, or ``dict(student=..., teacher=...)``; see
            :class:`~g2sd_mm.distill.taps.Taps`. Of a teacher that answers with features, ``tokens``
            is heard without a tap on its side.
        losses: name -> loss config. Beside the loss's own arguments: ``tap`` (compared on both
            sides), ``inputs`` (further arguments, see
            :func:`~g2sd_mm.distill.loss_inputs.look_up`) and ``warmup`` (updates over which the
            weight grows linearly from 0). None leaves out a loss of a base config.
        adapters: tap name -> module that the student's record is passed through.
        teachers: several in the place of ``teacher``, by name; taps, and adapters, are then called
            ``NAME.TAP``, and every loss compares with one of them.
        teacher_drop: arguments of a :class:`~g2sd_mm.distill.several.TeacherDrop`, if teachers are
            left out by chance.
        teacher_patches: arguments of an :class:`~g2sd_mm.distill.attended.AttendedPatches`, if the
            teacher sees only the patches that the student attends to; the student then runs first.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: FrozenTeacher | Mapping[str, Any] | None = None,
        taps: Mapping[str, Any] | None = None,
        losses: Mapping[str, Mapping[str, Any] | None] | None = None,
        adapters: Mapping[str, Any] | None = None,
        teachers: Mapping[str, FrozenTeacher | Mapping[str, Any]] | None = None,
        teacher_drop: Mapping[str, Any] | None = None,
        teacher_patches: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if (teacher is None) == (teachers is None):
            raise UserError('distillation needs either teacher=dict(...) or teachers=dict(a=...)')
        if teachers is not None:
            check_names(list(teachers))
        given: Mapping[str, Any] = teachers if teachers is not None else {'': teacher}
        # a plain dict hides teachers from torch; their owner moves them between devices
        self.teachers = {
            name: part if isinstance(part, FrozenTeacher) else build_teacher(part)
            for name, part in given.items()
        }
        names = list(self.teachers)
        for one in self.teachers.values():
            one.check_student(student)
        taps, adapters = flat(taps, names), flat(adapters, names)
        heard: dict[str, dict[str, Any]] = {name: {} for name in names}
        for tap in (*taps, *adapters):
            owner(tap, names)
        for tap, path in side_of(taps, 'teacher').items():
            name, own = owner(tap, names)
            heard[name][own] = path
        self.student_taps = Taps(student, side_of(taps, 'student'))
        self.teacher_taps = {
            name: Taps(one.model, heard[name]) for name, one in self.teachers.items()
        }
        self.adapters = nn.ModuleDict({_key(k): MODELS.build(v) for k, v in adapters.items()})
        self.drop = TeacherDrop(names, **teacher_drop) if teacher_drop is not None else None
        self.patches = None
        if teacher_patches is not None:
            attended.check_teacher(self.teacher, student_stride(student))
            self.patches = attended.AttendedPatches(student, **teacher_patches)
        self._inputs: dict[str, dict[str, Any]] = {}
        self._owners: dict[str, str | None] = {}
        self._warmups: dict[str, int] = {}
        self.losses = nn.ModuleDict()
        for name, cfg in (losses or {}).items():
            if cfg is not None:  # else one of a base config's, left out by the one that inherits it
                self._add_loss(name, dict(cfg))
        self.update = 0  # optimizer updates so far; LossWarmupHook keeps it
        #: What the teacher said earlier, on disk; TeacherAnswersHook gives it.
        self.kept: TeacherAnswers | None = None
        #: Measures what a teacher takes while it is set; by the teacher's name.
        self.stopwatch: Callable[[str], AbstractContextManager] | None = None

    def _add_loss(self, name: str, cfg: dict[str, Any]) -> None:
        if 'loss' not in name:
            raise ValueError(
                f'a distillation loss is called {name!r}: only what has "loss" in its name is '
                f'trained (a rule of mmengine), so call it loss_{name}'
            )
        self._warmups[name] = cfg.pop('warmup', 0)
        tap, inputs = cfg.pop('tap', None), cfg.pop('inputs', {})
        self.losses[name] = loss = MODELS.build(cfg)
        places = loss_inputs(tap, inputs, getattr(loss, 'needs_view', False))
        self._owners[name] = teacher_of_loss(name, places, list(self.teachers))
        if getattr(loss, 'takes_features', False):
            of_teacher = self._owners[name]
            heard = () if of_teacher is None else self.teacher_taps[of_teacher]
            places = with_features(places, of_teacher, heard)
        self._inputs[name] = places
        if (target := measured_target(loss)) and target.channels is None:
            target.allocate(self._width(name, places))

    def _width(self, loss: str, places: Mapping[str, Any]) -> int:
        """Channels of the teacher's side of a loss."""
        name, place = self._owners[loss], places.get('teacher')
        own = place if isinstance(place, str) else (place or [''])[-1]
        tap = own.removeprefix('teacher.')
        taps = () if name is None else self.teacher_taps[name]
        teacher = None if name is None else self.teachers[name]
        if teacher and tap.removeprefix(f'{name}.') not in taps and teacher.width:
            return teacher.width
        student = str(places.get('student'))
        adapter = self.adapter(student.removeprefix('student.'))
        for attribute in ('out_width', 'out_features', 'out_channels'):
            if width := getattr(adapter, attribute, None):
                return int(width)
        raise UserError(
            f'distillation.losses.{loss}.target measures the teacher, and nothing says how wide '
            "its tokens are: give channels, as in target=dict(type='mean_std', channels=768)"
        )

    @property
    def teacher(self) -> FrozenTeacher:
        """The only teacher, which is no submodule.

        Raises:
            ValueError: if there are several.
        """
        if len(self.teachers) > 1:
            raise ValueError(f'there are several teachers: {", ".join(self.teachers)}')
        (teacher,) = self.teachers.values()
        return teacher

    def init_weights(self) -> None:
        """Adapters that have a rule for it, after the student."""
        for adapter in self.adapters.values():
            getattr(adapter, 'init_weights', lambda: None)()

    def loss_places(self, name: str) -> Mapping[str, Any]:
        """Argument of a loss -> where it comes from."""
        return self._inputs[name]

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
        taught: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The student's own losses, and those of distillation.

        Args:
            task_losses: lets the student run on the images and gives its own losses.
            images: preprocessed images [B, 3, height, width], mixed up or not, as the student sees.
            data_samples: the batch's samples.
            view: which patches the student sees, if not all.
            taught: what :meth:`ask_teacher` answers, if it was asked already.
        """
        if taught is None and self.patches is None:
            # first: what it takes is gone before the student keeps anything for its backward pass
            taught = self.ask_teacher(images, data_samples, view)
        with (
            self.student_taps.record(trained=self.training) as heard,
            self.patches.record() if self.patches else nullcontext({}) as attention,
        ):
            own = task_losses()
        if self.training and torch.is_grad_enabled():
            check_trained(self._inputs, heard)
        if self.patches is not None:
            shown = self.patches.view(attention, self.teacher, images)
            taught = self.ask_teacher(images, data_samples, shown)
            heard = {tap: shown.beside(value) for tap, value in heard.items()}
        assert taught is not None
        student = {tap: self._adapted(tap, value, images) for tap, value in heard.items()}
        part = view is not None or self.patches is not None
        batch = {} if view is None else {'view': view}
        sources = {'student': student, 'teacher': taught, 'batch': batch}
        # losses in full precision, whatever autocast or the teacher ran in
        with torch.autocast(images.device.type, enabled=False):
            given = {
                name: {
                    k: argument(v, sources, data_samples, images, part) for k, v in inputs.items()
                }
                for name, inputs in self._inputs.items()
            }
            if self.training:
                self._measure(given)
            stays = self._images_of_teachers(len(images), data_samples)
            added = {
                name: self._value(name, given[name], stays, len(images)) for name in self.losses
            }
            return {**merge_losses(own, added), **self._explained(given)}

    def _measure(self, given: Mapping[str, Mapping[str, Any]]) -> None:
        """Show teachers' answers to the targets that are measured."""
        for name, arguments in given.items():
            loss: Any = self.losses[name]
            if measured_target(loss):
                with naming_loss(name, loss, arguments):
                    loss.measure(self.update, **arguments)

    def _images_of_teachers(
        self, number: int, data_samples: Sequence | None
    ) -> dict[str, Tensor]:
        """Teacher -> images that it counts for; empty if all count."""
        if self.drop is None or not self.training:
            return {}
        return self.drop.of_images(number, data_samples)

    def _value(
        self, name: str, given: Mapping[str, Any], stays: Mapping[str, Tensor], batch: int
    ) -> Tensor:
        """A loss of a batch of that many images, with all of its factors.

        ``stays`` as of :meth:`_images_of_teachers`.
        """
        teacher = self._owners[name]
        factor = self.warmup_factor(name)
        if teacher is not None and self.drop is not None and self.training:
            factor /= self.drop.share
            if teacher in stays:
                images = stays[teacher]
                # the mean over all images, so that no process counts for more than another
                factor *= len(images) / batch
                if 0 < len(images) < batch:
                    given = some_images(given, images, batch)
        with naming_loss(name, self.losses[name], given):
            return factor * self.losses[name](**given)

    def _explained(self, given: Mapping[str, Mapping[str, Any]]) -> dict[str, Tensor]:
        """How good losses on features are: low ones say little."""
        measures = {
            name: measure
            for name, loss in self.losses.items()
            if (measure := getattr(loss, 'explained_variance', None))
        }
        figures = figure_names(list(measures))
        return {figures[n]: measures[n](**given[n]) for n in measures}

    def ask_teacher(
        self, images: Tensor, data_samples: Sequence | None = None, view: Any = None
    ) -> dict[str, Any]:
        """What the teachers' taps record of these images, or what is on disk of it.

        With ``cls`` and ``patches`` of a teacher that answers with features, and all of these as
        ``features``; of several teachers each under ``NAME.``.
        """
        if self.kept and (known := self.kept.find(data_samples, images.device)) is not None:
            return known
        taught: dict[str, Any] = {}
        for name, teacher in self.teachers.items():
            with (
                self.stopwatch(name) if self.stopwatch else nullcontext(),
                self.teacher_taps[name].record() as heard,
            ):
                answer = teacher(images, view)
            if isinstance(answer, Features):
                heard = {**answer._asdict(), 'features': answer, **heard}
            taught |= {f'{name}.{tap}': v for tap, v in heard.items()} if name else heard
        if self.kept:
            self.kept.keep(data_samples, taught)
        return taught

    def adapter(self, tap: str) -> nn.Module:
        """Between a student's tap and its losses; an identity where there is none."""
        key = _key(tap)
        return self.adapters[key] if key in self.adapters else nn.Identity()

    def _adapted(self, tap: str, value: Any, images: Tensor) -> Any:
        adapter = self.adapter(tap)
        check_width(tap, adapter, value)
        if getattr(adapter, 'under_autocast', False):
            return full(adapter(value))
        with torch.autocast(images.device.type, enabled=False):
            return adapter(full(value))


def merge_losses(own: Mapping[str, Any], added: Mapping[str, Tensor]) -> dict[str, Any]:
    """The student's losses and those of distillation.

    mmpretrain calls its only one ``loss``, as mmengine's log calls the sum of all: it becomes
    ``loss_task``.

    Raises:
        ValueError: if a name is used on both sides, or there is no loss on either.
    """
    if not own and not added:
        raise ValueError('nothing is trained: the student has no loss, nor has distillation.losses')
    own = {'loss_task' if name == 'loss' else name: value for name, value in own.items()}
    twice = sorted(set(own) & set(added))
    if twice:
        raise ValueError(f'the student has a loss {twice[0]} of its own: rename the one in losses')
    return {**own, **added}


def figure_names(losses: Sequence[str]) -> dict[str, str]:
    """Loss -> the name that its figure is logged under; of several, each with the loss's own.

    Without "loss": mmengine adds up whatever has that in its name.
    """
    if len(losses) == 1:
        return {losses[0]: 'explained_variance'}
    names: dict[str, str] = {}
    for loss in losses:
        parts = loss.replace('loss', '').split('_')
        name = '_'.join(['explained_variance', *filter(None, parts)])
        while name in names.values():  # a_loss and loss_a
            name += '_2'
        names[loss] = name
    return names


def _key(tap: str) -> str:
    """A tap's name as that of a submodule, which cannot have a dot."""
    return tap.replace('.', '/')
