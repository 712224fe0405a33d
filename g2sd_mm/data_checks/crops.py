"""Crops that an image may be too small for, read from a pipeline's steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .findings import Finding
from .images import Picture

#: Cuts that leave a smaller image as small as it is, and what makes each pad it.
_CROPS = {'RandomCrop': 'pad_if_needed', 'CenterCrop': 'auto_pad'}
#: Steps that look at an image, or turn it, and leave its size.
_KEEP_SIZE = ('Load', 'RandomFlip', 'Check', 'ColorJitter', 'PhotoMetric', 'Normalize')


@dataclass(frozen=True)
class Crop:
    """The size of a crop, in pixels."""

    height: int
    width: int


def crop_of_whole_image(pipeline: Sequence[Mapping[str, Any]]) -> Crop | None:
    """The crop that a pipeline takes from an image as it is in the file.

    None if it resizes or pads before, or pads what is too small.
    """
    for step in pipeline:
        name = str(step.get('type', '')).rpartition('.')[2]
        if name in _CROPS:
            size = step.get('crop_size')
            if step.get(_CROPS[name]) or step.get('padding') or step.get('crop_type'):
                return None
            height, width = (size, size) if isinstance(size, int) else tuple(size or (0, 0))
            return Crop(int(height), int(width))
        if not name.startswith(_KEEP_SIZE):
            return None
    return None


def too_small(crop: Crop | None, pictures: Iterable[Picture]) -> Iterator[Finding]:
    """Images that are smaller than the crop in one direction."""
    for picture in pictures:
        if crop is None or picture.size is None:
            continue
        width, height = picture.size
        if height < crop.height or width < crop.width:
            detail = f'{width}x{height} px, the crop is {crop.width}x{crop.height}'
            yield Finding('smaller-than-crop', picture.path, detail)
