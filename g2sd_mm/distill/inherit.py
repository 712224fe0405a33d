"""Parts of the student that start as the teacher's: its heads, mostly.

A head that the teacher trained needs no learning anew if the student's features come to be those
that it was trained on, which is what distillation is for.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ..checkpoints.fill import fill
from ..errors import ConfigError
from .teachers import FrozenTeacher, OpenMMLabTeacher


def inherit(student: nn.Module, teacher: FrozenTeacher, modules: Sequence[str]) -> None:
    """Fill modules of a student with the weights of the same ones of its teacher, in place.

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
