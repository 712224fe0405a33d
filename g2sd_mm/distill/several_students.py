"""Several students beside one teacher in one run of stage 1: its answer is computed once.

Most of a step's arithmetic is the teacher's, so that a second student costs a fraction of a run of
its own. Each one becomes what its own run would make of it, to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..errors import ConfigError
from ..seeding import Generators
from .distiller import SpecificDistiller
from .teachers import FrozenTeacher
from .teachers.images import student_stride

#: What of a student decides which view it draws.
VIEW = ('num_patches', 'has_decoder', 'mask_ratio', 'decode_share')
_TEACHING = ('teacher', 'teachers', 'teacher_drop')


@MODELS.register_module()
class SeveralStudents(BaseModel):
    """Distillers with a student each, one teacher, and one view of every batch.

    ``g2sd_mm.distill_config(cfg)`` makes it from a config with ``students``. Each distiller is
    built, initialised and run from the same state of the random generators, as if it were alone,
    and the sum of all losses has in every student's parameters the gradient of its own. So from
    the same seed each gets the bits of its own run, in float32 and bfloat16, on one process. (What
    couples them is refused or documented: a gradient's norm over all of them, a loss scaler.)

    Args:
        students: name -> arguments of its :class:`~g2sd_mm.distill.distiller.SpecificDistiller`.

    Raises:
        ConfigError: if the students do not ask the same of the same teacher, or see other views.
    """

    students: Any  # distillers by name, which torch's types take for any modules

    def __init__(
        self, students: Mapping[str, Mapping[str, Any]], data_preprocessor: dict | None = None
    ) -> None:
        start, built = Generators(), {}
        parts = list(students.values())
        self._built: dict[str, Generators] = {}
        for name, part in students.items():
            start.restore()
            built[name] = MODELS.build({'type': 'SpecificDistiller', **part})
            self._built[name] = Generators()
        self._first = next(iter(built))
        first: SpecificDistiller = built[self._first]
        super().__init__(data_preprocessor=first.data_preprocessor)
        for name, other in built.items():
            if asked := _differs(first, other, parts[0], students[name]):
                raise ConfigError(
                    f'students.{name} and students.{self._first} have different {asked}: students '
                    'of one run see one view and hear one answer; train it in a run of its own'
                )
            other.share_teachers(first)
        self.students = nn.ModuleDict(built)
        self._built[self._first].restore()

    @property
    def teachers(self) -> dict[str, FrozenTeacher]:
        """All teachers by name; the only one of a config is called ``''``."""
        return self._leader.teachers

    @property
    def frozen_networks(self) -> tuple[nn.Module, ...]:
        """What runs beside the students without being trained, saved or synchronised."""
        return self._leader.frozen_networks

    @property
    def _leader(self) -> Any:
        return self.students[self._first]

    def init_weights(self) -> None:
        """Each from the state of the generators that its own run has here.

        That is the one after it was built; or the present one if somebody seeded in between.
        """
        now = Generators()
        seeded = not now.same(self._built[self._first])
        for name in reversed(list(self.students)):  # the first one's state stays
            now.restore()
            if not seeded:
                self._built[name].restore()
            self.students[name].init_weights()

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'
    ) -> Any:
        """All losses, ``NAME.loss``, in ``loss`` mode; else the students' answers by name."""
        if mode != 'loss':
            return {name: part(inputs, data_samples, mode) for name, part in self.students.items()}
        view = self._leader.draw_view(inputs, data_samples)
        taught = self._leader.distillation.ask_teacher(inputs, data_samples, view)
        start, losses = Generators(), {}
        for name, part in self.students.items():
            start.restore()  # what a student draws for itself, it draws as if it were alone
            for loss, value in part.losses(inputs, data_samples, view, taught).items():
                losses[f'{name}.{loss}'] = value
        return losses

    def deployable_state(self) -> dict[str, Tensor]:
        """State dicts of all students' encoders, each name behind that of its student."""
        return {
            f'{name}.{key}': tensor
            for name, part in self.students.items()
            for key, tensor in part.deployable_state().items()
        }


def _differs(
    first: SpecificDistiller, other: SpecificDistiller, *parts: Mapping[str, Any]
) -> str:
    """What of two distillers keeps them from sharing an answer; '' if nothing does."""
    for key in _TEACHING:
        if parts[0].get(key) != parts[1].get(key):
            return f'distillation.{key}'
    for key in VIEW:
        if getattr(first.student, key, None) != getattr(other.student, key, None):
            return f'model.{key}'
    # teachers of features answer on the grid of the first student
    prepare = any(one.prepares_images for one in first.teachers.values())
    if prepare and student_stride(first.student) != student_stride(other.student):
        return 'model.level'
    images, others = (part['student'].get('data_preprocessor') for part in parts)
    if images != others:
        return 'model.data_preprocessor'
    one, two = first.distillation, other.distillation
    if {n: t.paths for n, t in one.teacher_taps.items()} != {
        n: t.paths for n, t in two.teacher_taps.items()
    }:
        return 'taps of the teacher'
    return ''
