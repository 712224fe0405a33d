"""Which objects of a COCO file count, for training and for evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .coco_file import categories_of
from .contents import CROWD, NO_MASK, NOT_LISTED, Contents

_TINY = 'thinner than a pixel or outside of the image'
_SMALL = 'in images smaller than min_size'


@dataclass(frozen=True)
class Reading:
    """How a config reads annotations.

    classes: names that it asks for; None takes all that the file has.
    training: whether the objects are learnt; else a metric is computed from them.
    masks: whether the pipeline loads masks, or the metric is one of masks.
    polygons: whether the pipeline keeps polygons, and so cannot keep run lengths.
    min_size: shortest side of the images that are kept, in pixels.
    """

    classes: Sequence[str] | None = None
    training: bool = True
    masks: bool = False
    polygons: bool = False
    min_size: int = 0


def count_objects(content: dict[str, Any], place: str, reading: Reading) -> Contents:
    """Count what a network learns from, or is judged by, in one pass over the annotations.

    Args:
        content: of a file without malformed entries.
        place: its path.
        reading: how it is read.
    """
    names = categories_of(content)
    classes = tuple(names.values()) if reading.classes is None else tuple(reading.classes)
    number = {name: i for i, name in enumerate(classes)}
    label = {key: number.get(name) for key, name in names.items()}
    sizes = {
        image['id']: (image['width'], image['height'])
        for image in content['images']
        if min(image['width'], image['height']) >= reading.min_size
    }
    counts: Counter[int] = Counter()
    left_out: Counter[str] = Counter()
    for annotation in content['annotations']:
        index = label.get(annotation['category_id'])
        if index is None:
            left_out[NOT_LISTED] += 1
        elif reason := _reason(annotation, sizes.get(annotation['image_id']), reading):
            left_out[reason] += 1
        else:
            counts[index] += 1
    return Contents(place, 'objects', classes, counts, len(content['annotations']), left_out)


def lacking_masks(content: dict[str, Any], reading: Reading) -> int:
    """Objects of the classes that an evaluation of masks cannot read the masks of."""
    listed = listed_ids(content, reading)
    return sum(
        annotation['category_id'] in listed and not has_whole_mask(annotation)
        for annotation in content['annotations']
    )


def listed_ids(content: dict[str, Any], reading: Reading) -> set[Any]:
    """Ids of the categories that are read."""
    names = categories_of(content)
    return {key for key, name in names.items() if name in (reading.classes or names.values())}


def has_mask(annotation: dict[str, Any]) -> bool:
    """Whether an object's mask is run lengths, or has a polygon of at least three points."""
    mask: Any = annotation.get('segmentation')
    if isinstance(mask, dict):
        return {'size', 'counts'} <= set(mask)
    return bool(mask) and any(len(p) >= 6 and len(p) % 2 == 0 for p in mask)


def has_whole_mask(annotation: dict[str, Any]) -> bool:
    """Whether pycocotools can read the mask: all of its polygons have three points."""
    mask: Any = annotation.get('segmentation')
    if isinstance(mask, dict):
        return {'size', 'counts'} <= set(mask)
    return bool(mask) and all(len(p) >= 6 and len(p) % 2 == 0 for p in mask)


def _reason(
    annotation: dict[str, Any], size: tuple[int, int] | None, reading: Reading
) -> str:
    """Why an object does not count; empty if it does."""
    if annotation.get('iscrowd') or annotation.get('ignore'):
        return CROWD
    if size is None:
        return _SMALL
    x, y, w, h = annotation['bbox']
    inside = min(x + w, size[0]) > max(x, 0) and min(y + h, size[1]) > max(y, 0)
    if w < 1 or h < 1 or annotation['area'] <= 0 or not inside:
        return _TINY
    if reading.masks and reading.training and not has_mask(annotation):
        return NO_MASK
    return ''
