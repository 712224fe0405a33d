"""Which token of a student stands beside which of a teacher: class tokens, views, grids."""

from __future__ import annotations

from math import gcd, isqrt, log
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import UserError
from ...models.masking import Masking
from ..teachers.protocol import Features

#: Which tokens a loss compares, see :func:`select_tokens`.
TOKENS = ('all', 'masked', 'patches', 'cls')


class Aligned(NamedTuple):
    """Tokens of both networks in one order.

    student: [B, first + N, D].
    teacher: [B, first + N, C].
    first: class tokens in front: 1, or 0 if one of the networks has none.
    lacking: ``student`` or ``teacher``, whichever has no class token where the other has one.
    """

    student: Tensor
    teacher: Tensor
    first: int
    lacking: str = ''


def align(
    student: Tensor, teacher: Tensor | Features, view: Masking | None = None, masked: bool = False
) -> Aligned:
    """Put the tokens of student and teacher side by side.

    What taps on both sides heard, [B, 1 + N, .] each, is in order already. Of a teacher's
    :class:`Features` the patches are matched to the student's: those of a view are picked in its
    order, and where the grids differ the smaller map is resized to the larger one (bicubic). Of a
    student whose tokens are a part of the image, or of which hidden ones are compared, it is the
    teacher's map that is resized.

    Args:
        student: class token, if any, and patches [B, first + N, D] of the whole image or of a view;
            or a map [B, D, rows, columns] or [B, rows, columns, C]; [B, D] beside a class token.
        teacher: features; a map [B, rows, columns, C] or a class token [B, C] of them; or tokens
            [B, 1 + N, C] in the student's order.
        view: what the student sees, if not all.
        masked: hidden patches alone are going to be compared.

    Raises:
        UserError: if the numbers of tokens cannot belong together.
    """
    if isinstance(teacher, Tensor) and teacher.ndim == 2:
        own = student.unsqueeze(1) if student.ndim == 2 else student[:, :1]
        return Aligned(own, teacher.unsqueeze(1), 1)
    if isinstance(teacher, Tensor) and teacher.ndim == 3:
        if student.ndim != 3 or student.shape[1] != teacher.shape[1]:
            raise UserError(
                f'a loss compares tokens {list(teacher.shape)} of the teacher with '
                f'{list(student.shape)} '
                'of the student: tap modules of both that have the same tokens, or take the '
                "teacher's features (a tap on the student's side only)"
            )
        return Aligned(student, teacher, 1)
    cls, patches = teacher if isinstance(teacher, Features) else (None, teacher)
    if student.ndim == 4:
        own, grid = _flat_map(student, patches)
        first, order = 0, None
    else:
        own = student
        first, grid, order = _layout(student, patches, view)
    lacking = ''
    if first and cls is None:
        own, first, lacking = own[:, first:], 0, 'teacher'
    elif cls is not None and not first:
        lacking = 'student'
    if patches.ndim == 4:
        theirs = (patches.shape[1], patches.shape[2])
        smaller = grid[0] * grid[1] < theirs[0] * theirs[1]
        patches = patches.flatten(1, 2)
        if grid != theirs and smaller and order is None and not masked:
            own = torch.cat([own[:, :first], resized(own[:, first:], grid, theirs)], dim=1)
        elif grid != theirs:
            patches = resized(patches, theirs, grid)
        if order is not None:
            patches = patches.gather(1, order.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))
    if first and cls is not None:
        patches = torch.cat([cls.unsqueeze(1), patches], dim=1)
    return Aligned(own, patches, first, lacking)


def select_tokens(
    tokens: Tensor, which: str, view: Masking | None = None, first: int = 1
) -> Tensor:
    """The tokens that count, of class tokens and the patches after them [B, first + N, d].

    Args:
        tokens: of all patches in raster order; where the view leaves hidden ones out, visible ones
            come first.
        which: ``all``, ``cls``, ``patches`` or ``masked`` patches alone.
        view: which patches are visible; for ``masked``.
        first: class tokens in front, 0 or 1.

    Returns:
        [B, n, d]; of ``masked`` patches of whole images [B * n, d], image by image.

    Raises:
        ValueError: for ``masked`` without a view or without hidden patches, and for ``cls`` without
            a class token.
    """
    if which == 'all':
        return tokens
    if which == 'cls':
        if not first:
            raise ValueError("tokens='cls' of networks without a class token: take 'patches'")
        return tokens[:, :first]
    patches = tokens[:, first:]
    if which == 'patches':
        return patches
    if view is None:
        raise ValueError("tokens='masked' of a student that sees all patches: take 'patches'")
    if view.keep.shape[1] == view.mask.shape[1]:
        raise ValueError("tokens='masked', and model.mask_ratio=0 hides no patch: take 'patches'")
    if view.hidden is not None:
        return patches[:, view.keep.shape[1] :]
    return patches[view.mask.bool()]


def as_patches(heard: Any, images: Tensor, part: bool = False) -> Any:
    """What a tap heard, patches among it as a teacher's are: [B, rows, columns, C].

    Layers of convolutions have the channels second, those of some transformers last, and no number
    says which: the grid is the reading that has more of the images' shape. Tokens whose number is
    one of a grid of that shape are patches without a class token.

    Args:
        heard: a map, or tokens of whole images, are changed, anything else stays as it is.
        images: [B, 3, height, width].
        part: the network saw a part of each image, and tokens stay as they are.
    """
    if not isinstance(heard, Tensor) or heard.ndim not in (3, 4):
        return heard
    height, width = images.shape[-2:]
    if heard.ndim == 4:
        return _last(heard, height / width)
    grid = None if part else _grid(heard.shape[1], (height, width))
    return heard.unflatten(1, grid) if grid else heard


def _last(maps: Tensor, shape: float, channels: int | None = None) -> Tensor:
    """Maps with the channels last, of images (or grids) that are ``shape`` times as high as wide.

    Where both readings have that shape, those are channels that are as many as ``channels``.
    """
    _, first, middle, last = maps.shape
    second, behind = (
        (abs(log(rows / columns / shape)), number != channels)
        for rows, columns, number in ((middle, last, first), (first, middle, last))
    )
    return maps.movedim(1, -1) if second <= behind else maps


def resized(tokens: Tensor, grid: tuple[int, int], to: tuple[int, int]) -> Tensor:
    """Tokens [B, rows * columns, C] of one grid on another, bicubic; smoothed where it shrinks."""
    maps = tokens.transpose(1, 2).unflatten(2, grid)
    shrinks = to[0] < grid[0] or to[1] < grid[1]
    maps = F.interpolate(maps, to, mode='bicubic', align_corners=False, antialias=shrinks)
    return maps.flatten(2).transpose(1, 2)


def _flat_map(student: Tensor, patches: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """A map as tokens, and its grid, which has the shape of the teacher's."""
    rows, columns = patches.shape[1:3] if patches.ndim == 4 else (1, 1)
    student = _last(student, rows / columns, patches.shape[-1])
    return student.flatten(1, 2), (student.shape[1], student.shape[2])


def _layout(
    student: Tensor, patches: Tensor, view: Masking | None
) -> tuple[int, tuple[int, int], Tensor | None]:
    """Class tokens in front, the grid of the whole image, and raster numbers of a view's patches.

    Of an image without a view the number of tokens says whether there is a class token: the grids
    of both networks have the same shape, and no two sizes of it differ by one.
    """
    number = student.shape[1]
    if view is None:
        if patches.ndim == 4:
            for first in (0, 1):
                if grid := _grid(number - first, patches.shape[1:3]):
                    return first, grid, None
    else:
        total = view.mask.shape[1]
        grid = _grid(total, patches.shape[1:3]) if patches.ndim == 4 else (total, 1)
        # decoders put them back into raster order, and a view of all has it
        orders: dict[int, Tensor | None] = {total: None}
        if view.keep.shape[1] < total:
            orders[view.keep.shape[1]] = view.keep
        if view.hidden is not None:
            both = torch.cat([view.keep, view.hidden], dim=1)
            orders[both.shape[1]] = both
        for first in (1, 0):
            if number - first in orders and grid:
                order = orders[number - first]
                if patches.ndim == 3 and patches.shape[1] != number - first:
                    break  # it answers with the patches of the view, in its order
                return first, grid, order
    of_view = '' if view is None else f', {view.keep.shape[1]} of {view.mask.shape[1]} visible'
    raise UserError(
        f'the {number} tokens of the student{of_view} cannot be matched to the patches '
        f'{tuple(patches.shape[1:-1])} of the teacher: tap a module whose output is a class token, '
        'if any, and the patches'
    )


def _grid(number: int, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Rows and columns of that many patches in the shape of such a grid, if there are."""
    rows, columns = shape
    common = gcd(rows, columns)
    rows, columns = rows // common, columns // common
    factor = isqrt(max(number, 0) // (rows * columns))
    whole = factor > 0 and factor**2 * rows * columns == number
    return (factor * rows, factor * columns) if whole else None
