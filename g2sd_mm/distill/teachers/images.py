"""A student's images made into a teacher's: normalisation, order of channels, size, grid.

Both see one image. The student's was normalised for the student already; a teacher that was trained
with another mean, order of channels or size of patches gets it as it was trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import UserError

Size = tuple[int, int]

#: An image is resized for its teacher by less than this; beyond it the teacher's map is.
_LIMIT = 2.0


@dataclass(frozen=True)
class Pixels:
    """How images are normalised: ``(value - mean) / std`` of values 0 to 255, channel by channel.

    channels: ``RGB`` or ``BGR``; other numbers of channels than three have no order.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: str = 'RGB'

    @classmethod
    def of_fractions(cls, mean: Sequence[float], std: Sequence[float]) -> Pixels:
        """From statistics of RGB values 0 to 1, as timm and Hugging Face write them."""
        return cls(tuple(255 * v for v in mean), tuple(255 * v for v in std))


def student_pixels(student: nn.Module) -> Pixels:
    """How a student's images are normalised, of what its ``data_preprocessor`` is made with.

    Files are read as BGR; the preprocessor turns them or not.

    Raises:
        UserError: if that has no mean and std: nobody could undo what is not known.
    """
    preprocessor: Any = getattr(student, 'data_preprocessor', None)
    mean, std = getattr(preprocessor, 'mean', None), getattr(preprocessor, 'std', None)
    if mean is None or std is None:
        raise UserError(
            'the teacher normalises images anew and has to know how the student normalises them: '
            'give data_preprocessor a mean and a std (0 and 1 for raw values of 0 to 255)'
        )
    turns = any(getattr(preprocessor, key, False) for key in ('to_rgb', '_channel_conversion'))
    channels = 'RGB' if turns else 'BGR'
    return Pixels(tuple(mean.flatten().tolist()), tuple(std.flatten().tolist()), channels)


def renormalised(images: Tensor, theirs: Pixels, own: Pixels) -> Tensor:
    """Images that were normalised in ``theirs``, in ``own``: [B, C, H, W], in one pass."""
    if theirs == own:
        return images
    swap = theirs.channels != own.channels and len(own.mean) == 3

    def column(values: Sequence[float]) -> Tensor:
        numbers = torch.tensor(values, dtype=torch.float64)
        return numbers.flip(0) if swap else numbers

    mean, std = (torch.tensor(v, dtype=torch.float64) for v in (own.mean, own.std))
    scale, shift = column(theirs.std) / std, (column(theirs.mean) - mean) / std
    images = images.flip(1) if swap else images
    scale, shift = (v.to(images.device, images.dtype)[:, None, None] for v in (scale, shift))
    return torch.addcmul(shift, images, scale)


def resized(maps: Tensor, size: Size) -> Tensor:
    """[B, C, H, W] in another size: bicubic, with averaging where it becomes smaller."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=size, mode='bicubic', antialias=True, align_corners=False)


def on_grid(patches: Tensor, grid: Size) -> Tensor:
    """A patch map [B, rows, columns, C] on the student's grid, see :func:`resized`."""
    if tuple(patches.shape[1:3]) == tuple(grid):
        return patches
    kind = patches.dtype  # interpolation in bfloat16 would lose what the network computed
    maps = resized(patches.movedim(-1, 1).to(torch.promote_types(kind, torch.float32)), grid)
    return maps.movedim(1, -1).to(kind)


def size_for(image: Size, grid: Size | None, stride: int, step: int, fixed: Size | None) -> Size:
    """Height and width that a teacher sees an image in, [pixels].

    With them its map has the student's ``grid``, unless the image had to become twice as large, or
    half as large: then it stays as it is, and the map is resized.

    Args:
        image: height and width of the student's image.
        grid: rows and columns of the student's patches, if it has any.
        stride: pixels from one place of the teacher's map to the next.
        step: of which its sizes are multiples.
        fixed: the size that the user or the network insists on.
    """
    if fixed is not None:
        return fixed
    if grid is not None:
        wanted = (grid[0] * stride, grid[1] * stride)
        ratios = [side / old for side, old in zip(wanted, image, strict=True)]
        legal = all(side % step == 0 for side in wanted)
        if legal and max(ratios) < _LIMIT and min(ratios) > 1 / _LIMIT:
            return wanted
    height, width = (max(step, round(side / step) * step) for side in image)
    return height, width


def student_stride(student: nn.Module) -> int | None:
    """Pixels from one place of a student's map to the next; None of a student without patches.

    A student of one's own may say it: an attribute ``stride``.
    """
    for network in (student, getattr(student, 'backbone', None)):
        stride = getattr(network, 'stride', None)
        if stride is None:
            stride = getattr(getattr(network, 'patch_embed', None), 'patch_size', None)
        if isinstance(stride, int):
            return stride
    return None
