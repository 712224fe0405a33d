"""What of a student can be exported: the part that is a function of one tensor of fixed size."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from ..errors import UserError
from ..students.networks import Backbone, Classifier, Pyramid, Segmentor
from ..students.student import Student

#: The first of a task is the whole that can be exported.
PARTS: dict[str, dict[str, Callable[[nn.Module], nn.Module]]] = {
    'classification': {'classifier': Classifier, 'backbone': Backbone},
    'detection': {'pyramid': Pyramid, 'backbone': Backbone},
    'segmentation': {'segmentor': Segmentor, 'backbone': Backbone},
}
#: What is left out of the whole, and why; printed with every such export.
LEFT_OUT = {
    'detection': (
        'backbone and pyramid are exported, RPN and RoI heads are not: how many proposals, boxes '
        'and masks there are depends on the image (top-k, NMS, RoIAlign); run those with mmdet'
    ),
    'segmentation': (
        'the exported network takes one crop; sliding it over a larger image is left to the caller'
    ),
}


def choose_part(student: Student, part: str | None = None) -> tuple[str, nn.Module]:
    """Name and network of the part to export, in eval mode and without gradients.

    Args:
        student: any.
        part: a name of :data:`PARTS`; None for the whole of the task.

    Raises:
        UserError: if the task has no such part; the message says what can be exported.
    """
    parts = PARTS[student.task]
    part = part or next(iter(parts))
    if part not in parts:
        reason = LEFT_OUT.get(student.task)
        raise UserError(
            f'a student for {student.task} has no part {part!r} to export, but '
            f'{" and ".join(parts)}' + (f': {reason}' if reason else '')
        )
    return part, parts[part](student.model).eval().requires_grad_(False)


def output_names(part: str, number: int) -> list[str]:
    """Names of the outputs of a part that gives ``number`` tensors."""
    if part in ('classifier', 'segmentor'):
        return ['logits']
    if number == 1:
        return ['features']
    return [f'features_{i}' for i in range(number)]
