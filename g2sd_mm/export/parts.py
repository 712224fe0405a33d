"""What of a student can be exported: the part that is a function of one tensor of fixed size."""

from __future__ import annotations

from torch import nn

from ..errors import UserError
from ..students.student import Student
from ..tasks import task_named


def choose_part(student: Student, part: str | None = None) -> tuple[str, nn.Module]:
    """Name and network of the part to export, in eval mode and without gradients.

    Args:
        student: any.
        part: one of the task's ``parts``; None for the whole of the task.

    Raises:
        UserError: if the task has no such part; the message says what can be exported.
    """
    task = task_named(student.task)
    parts = task.parts
    part = part or next(iter(parts))
    if part not in parts:
        reason = task.left_out
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
