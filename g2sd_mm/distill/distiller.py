"""One distiller for both stages: a student trained beside a frozen teacher.

The student of stage 1 is a masked autoencoder without a loss of its own; that of stage 2 is a stock
model of mmpretrain, mmdet or mmseg, which computes its own task losses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..checkpoints.fill import fill
from ..errors import ConfigError
from ..models.masking import Masking
from .distillation import Distillation
from .teachers import FrozenTeacher, OpenMMLabTeacher, build_teacher, sees_view


@MODELS.register_module()
class SpecificDistiller(BaseModel):
    """The student of a config with a :class:`Distillation` beside it, in both stages.

    ``g2sd_mm.distill_config(cfg)`` makes one from a config with a ``distillation`` block. Outside
    training it behaves as the student alone. Its teachers, which torch does not see, follow it
    between devices; ``teacher`` is the only one of a config that has no more.

    Args:
        student: config of it.
        teacher, teachers: see :class:`Distillation`, which has the other arguments too.
        data_preprocessor: the student's, where its config has none.
        inherit: modules of the student that start as the only teacher's, see
            :func:`inherit`.
    """

    def __init__(
        self,
        student: dict,
        teacher: Mapping[str, Any] | None = None,
        data_preprocessor: dict | None = None,
        teachers: Mapping[str, Mapping[str, Any]] | None = None,
        inherit: Sequence[str] = (),
        **distillation: Any,
    ) -> None:
        if data_preprocessor is not None:
            student.setdefault('data_preprocessor', data_preprocessor)
        # the order in which random weights are drawn, which seeds stand for
        first, several = (_those_of_views_built(part) for part in ({'': teacher}, teachers or {}))
        built = MODELS.build(student)
        super().__init__(data_preprocessor=built.data_preprocessor)
        self.student = built
        self.distillation = Distillation(
            built, first[''], teachers=None if teachers is None else several, **distillation
        )
        if teachers is not None and inherit:
            raise ConfigError(
                f'distillation.inherit={list(inherit)} needs teacher=dict(...), a single one: of '
                'several teachers nothing says whose modules are meant'
            )
        self.inherited = tuple(inherit)

    def init_weights(self) -> None:
        """The student's and the adapters' own ways; then what is the teacher's."""
        super().init_weights()
        if self.inherited:
            inherit(self.student, self.distillation.teacher, self.inherited)

    @property
    def teacher(self) -> FrozenTeacher:
        """The only teacher of a config; ValueError if there are several."""
        return self.distillation.teacher

    @property
    def teachers(self) -> dict[str, FrozenTeacher]:
        """All teachers by name; the only one of a config is called ``''``."""
        return self.distillation.teachers

    @property
    def frozen_networks(self) -> tuple[nn.Module, ...]:
        """What runs beside the student without being trained, saved or synchronised."""
        return tuple(teacher.model for teacher in self.teachers.values())

    def _apply(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        module = super()._apply(fn, *args, **kwargs)
        for teacher in self.teachers.values():
            teacher.to(next(self.parameters()).device)
        return module

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'
    ) -> Any:
        """The student's own answer, with distillation losses added in ``loss`` mode."""
        if mode != 'loss':
            return self.student(inputs, data_samples, mode=mode)
        return self.losses(inputs, data_samples, self.draw_view(inputs, data_samples))

    def draw_view(self, images: Tensor, data_samples: list | None) -> Masking | None:
        """What both networks see of a batch, of a student that draws it."""
        draw = getattr(self.student, 'draw_view', None)
        return draw(images, data_samples) if draw else None

    def losses(
        self,
        images: Tensor,
        data_samples: list | None = None,
        view: Masking | None = None,
        taught: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """All losses of one batch, of a student that draws views under a given one.

        ``taught`` is the teacher's answer where it is known already.
        """
        given = {} if view is None else {'view': view}
        return self.distillation(
            lambda: self.student(images, data_samples, mode='loss', **given), images, data_samples,
            view, taught,
        )  # fmt: skip

    def share_teachers(self, other: SpecificDistiller) -> None:
        """Take the teachers of another distiller in the place of one's own, which are alike."""
        self.distillation.teachers = other.distillation.teachers
        self.distillation.teacher_taps = other.distillation.teacher_taps

    def deployable_state(self) -> dict[str, Tensor]:
        """State dict of the plain student, for its own library; of stage 1 the encoder's."""
        return getattr(self.student, 'deployable_state', self.student.state_dict)()


def _those_of_views_built(teachers: Mapping[str, Any]) -> dict[str, Any]:
    """Configs of teachers, those that see views as built teachers."""
    return {
        name: build_teacher(part) if part is not None and sees_view(part) else part
        for name, part in teachers.items()
    }


def inherit(student: nn.Module, teacher: FrozenTeacher, modules: Sequence[str]) -> None:
    """Fill modules of a student with the weights of the same ones of its teacher, in place.

    A head that the teacher trained needs no learning anew if the student's features come to be
    those that it was trained on, which is what distillation is for.

    Args:
        student: the network that is trained.
        teacher: a task model of an OpenMMLab library; its file has all of it, parts that are not
            run here too. One with random weights (speed tests) leaves the student as it is.
        modules: names that both have, such as ``rpn_head`` or ``decode_head.conv_seg``.

    Raises:
        ConfigError: for a name that the student does not have, or a teacher of another type.
        CheckpointError: if the teacher lacks one of them, or has it in another size.
    """
    own = _only(student, modules)
    if not isinstance(teacher, OpenMMLabTeacher):
        raise ConfigError(
            f'distillation.inherit={list(modules)} needs a task model as teacher '
            f'(teacher=dict(config=..., checkpoint=...)): {type(teacher).__name__} has no such '
            'modules'
        )
    if teacher.source:
        fill(own, teacher.source, 'inherited', ', '.join(modules))


def _only(student: nn.Module, modules: Sequence[str]) -> nn.Module:
    """A network of the student's own modules under their names, and of nothing else."""
    root = nn.Module()
    for path in modules:
        try:
            found = student.get_submodule(path)
        except AttributeError as error:
            raise ConfigError(
                f'distillation.inherit names {path!r}: {type(student).__name__} has '
                f'{", ".join(name for name, _ in student.named_children())}'
            ) from error
        place = root
        *above, last = path.split('.')
        for name in above:
            if name not in place._modules:
                place.add_module(name, nn.Module())
            place = place.get_submodule(name)
        place.add_module(last, found)
    return root
