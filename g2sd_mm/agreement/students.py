"""Students that are asked about the same test data: their classes, and the data's, in one order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mmengine.config import Config

from ..config.parts import LOADERS
from ..errors import UserError
from .inputs import inputs_of, pixels, unlike
from .names import BY_POSITION, comparable, difference
from .weights import reconcile_data, say

if TYPE_CHECKING:
    from ..students.student import Student


def agree_on_test_data(
    students: Mapping[str, Student],
    cfg: Config,
    name: str,
    size: int | tuple[int, int] | None = None,
) -> None:
    """Fit the labels of a config's test data to the classes of students, in place.

    Args:
        students: by name; each is compared with the first.
        cfg: config with ``test_dataloader``.
        name: of the config, for messages.
        size: side in pixels of the only images that can be taken, or height and width; None for
            any.

    Raises:
        UserError: if classes, normalisation or size differ.
    """
    (first, reference), *others = students.items()
    here = inputs_of(cfg)
    for called, student in others:
        if reference.classes != student.classes and comparable(reference.classes, student.classes):
            differs = difference(reference.classes, student.classes, (first, called))
            if not cfg.get(BY_POSITION):
                raise UserError(
                    f'{differs}. Networks of other classes cannot be compared; if only the names '
                    f'differ, --cfg-options {BY_POSITION}=True'
                )
    for called, student in students.items():
        if student.task == 'classification' and (differs := unlike(student.inputs, here)):
            raise UserError(f'{called} and {name} prepare images differently ({differs})')
    taken = (size, size) if isinstance(size, int) else size
    if taken and here.size and here.size != taken:
        raise UserError(
            f'{name} gives images of {pixels(here.size)}, and the exported file takes '
            f'{pixels(taken)}: export it with --size {here.size[0]}, or give other test data'
        )
    say(reconcile_data(cfg, reference.classes, first, (LOADERS[2],)).notes)
