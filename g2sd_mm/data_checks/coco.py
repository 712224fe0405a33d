"""A COCO annotation file, its objects and its images."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..data_layouts.coco_file import image_problem, leads_outside, malformed, read_coco
from ..data_layouts.coco_mended import (
    are_coordinates,
    box_of,
    categories_of,
    complete,
    polygon_area,
    polygon_box,
)
from ..data_layouts.copies import original
from ..errors import DataError
from .contents import CROWD, NO_MASK, NOT_LISTED, Contents, problems
from .findings import Finding
from .images import Picture
from .masks import Mask
from .source import TRAINING, Source

_SLACK = 1.0  # px; boxes are rounded by about so much
_LEAST_AREA = 1e-3  # square px
_FAR = 3.0  # px; by less, small boxes are rounded


class CocoSplit(Source):
    """One annotation file.

    Args:
        file: the JSON.
        folder: the images lie below it.
        split: name of the split.
        reading: how a config reads it; None asks nothing of masks and classes.

    Raises:
        DataError: if the file is no COCO annotation file, or there is no such folder.
    """

    def __init__(
        self,
        file: str | Path,
        folder: str | Path,
        split: str,
        reading: Reading | None = None,
    ) -> None:
        self.file, self.folder, self.split, self.place = str(file), Path(folder), split, str(file)
        if not self.folder.is_dir():
            raise DataError(f'no image folder {folder} for {file}')
        self.known: list[Finding] = []  # what has been found elsewhere, to be told with the rest
        self._content = read_coco(file)
        self._notes = complete(self._content)
        self._malformed = [Finding(kind, self.file, at) for kind, at in malformed(self._content)]
        self._reading = reading or Reading(training=split.startswith(TRAINING))
        self._listed_ids = set() if self._malformed else listed_ids(self._content, self._reading)
        # tools that draw boxes alone leave empty lists in the masks' place
        self._boxes_alone = not self._malformed and not any(
            has_mask(entry.get('segmentation')) for entry in self._content['annotations']
        )
        self._listed = {_key(entry.get('id')) for entry in self._content['images']}
        self._entries = {
            entry['id']: entry
            for entry in self._content['images']
            if not image_problem(entry) and not leads_outside(entry['file_name'])
        }

    def images(self) -> Sequence[str]:
        """All listed images."""
        return [self._path(entry) for entry in self._entries.values()]

    def structure(self) -> Iterable[Finding]:
        """Everything that the JSON shows by itself."""
        yield from self.known
        yield from self._malformed
        yield from (Finding('filled-in', self.file, note) for note in self._notes)
        yield from self._categories()
        if not self._malformed:
            contents = count_objects(self._content, self.file, self._reading)
            yield from problems(contents, self._reading.training)
        for annotation in self._content['annotations']:
            yield from self._annotation(annotation)
        yield from self._repeated()

    def compare(
        self, pictures: Mapping[str, Picture], masks: Mapping[str, Mask]
    ) -> Iterable[Finding]:
        """Sizes as listed and as decoded."""
        for entry in self._entries.values():
            picture = pictures[self._path(entry)]
            if picture.size and picture.size != (entry['width'], entry['height']):
                listed = entry['width'], entry['height']
                yield wrong_size(picture.path, listed, picture.size, picture.rotated)

    def names(self) -> dict[Any, str]:
        """Names of the categories by their ids; none of a file with entries that cannot be read."""
        return {} if self._malformed else categories_of(self._content)

    def objects(self) -> dict[str, list[tuple[str, list[float]]]]:
        """Names and boxes ``[x, y, width, height]`` of the objects, by the path of their image."""
        names = self.names()
        found: dict[str, list[tuple[str, list[float]]]] = {path: [] for path in self.images()}
        for annotation in self._content['annotations'] if names else ():
            entry = self._entries.get(annotation['image_id'])
            if entry is not None and annotation['category_id'] in names:
                name, box = names[annotation['category_id']], annotation['bbox']
                found[self._path(entry)].append((name, box))
        return found

    def size(self, path: str) -> tuple[int, int] | None:
        """Listed width and height of an image; None of one that is not listed."""
        sizes = {self._path(e): (e['width'], e['height']) for e in self._entries.values()}
        return sizes.get(path)

    def _path(self, entry: dict[str, Any]) -> str:
        return str(self.folder / entry['file_name'])

    def _categories(self) -> Iterator[Finding]:
        listed = {_key(c.get('id')): c.get('name') for c in self._content['categories']}
        roots = set() if self._malformed else set(listed) - set(categories_of(self._content))
        used = Counter(_key(a.get('category_id')) for a in self._content['annotations'])
        for name in self._reading.classes or ():
            if name not in listed.values():
                yield Finding('lacking-category', self.file, repr(name))
        for category, name in listed.items():
            if category not in used and category not in roots:
                yield Finding('unused-category', self.file, repr(name))
        for category, number in used.items():
            if category not in listed:
                yield Finding('unknown-category', self.file, f'{number} of category {category}')

    def _repeated(self) -> Iterator[Finding]:
        """Images with several entries, and objects that are there several times."""
        if self._malformed:
            return
        times = Counter(map(self._path, self._entries.values()))
        for path, number in times.items():
            if number > 1:
                yield Finding('listed-again', path, f'{number} times')
        first: dict[Any, Any] = {}
        for annotation in self._content['annotations']:
            key = annotation['image_id'], annotation['category_id'], *annotation['bbox']
            same = first.setdefault(key, annotation)
            entry = self._entries.get(annotation['image_id'])
            alike = same.get('segmentation') == annotation.get('segmentation')
            if same is not annotation and entry and alike:
                where = f'annotation {annotation["id"]}: is annotation {same["id"]}'
                yield Finding('repeated-object', self._path(entry), where)

    def _annotation(self, annotation: dict[str, Any]) -> Iterator[Finding]:
        image_id, where = _key(annotation.get('image_id')), f'annotation {annotation.get("id")}'
        if image_id not in self._listed:
            yield Finding('unknown-image', self.file, f'{where}: image {image_id}')
        entry = self._entries.get(image_id)
        if entry is None:
            return
        size = entry['width'], entry['height']
        box: Any = annotation.get('bbox')
        mask = annotation.get('segmentation')
        kinds = [_box_problem(box, *size)] if are_coordinates(box) and len(box) == 4 else []
        if isinstance(mask, list) and (any(mask) or not self._boxes_alone):
            kinds.append(_polygons_problem(mask, *size))
            if not any(kinds):
                kinds.append(_unlike(box, box_of(annotation)))
        if not self._malformed and _lacks_mask(annotation, self._reading, self._listed_ids):
            kinds.append('lacking-mask')
        yield from (Finding(kind, self._path(entry), where) for kind in kinds if kind)


def wrong_size(path: str, listed: Any, found: tuple[int, int], turned: bool) -> Finding:
    """What there is to say of an image that is not as large as its annotations say.

    Sizes are width and height; ``turned`` says whether an EXIF tag turns it when it is read.
    """
    kind = 'rotated-annotated' if turned else 'size-mismatch'
    sizes = ' px, is '.join(f'{width}x{height}' for width, height in (listed, found))
    return Finding(kind, original(path), f'listed as {sizes} px')


def _key(value: Any) -> int | str:
    """An id as it is, or whatever stands in its place as text."""
    return value if isinstance(value, (int, str)) else repr(value)


def _box_problem(box: list[float], width: int, height: int) -> str:
    x, y, w, h = box
    if w < 1 or h < 1:
        return 'degenerate-box'
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        return 'box-outside'
    return 'box-beyond' if _reaches_beyond(box, width, height) else ''


def _reaches_beyond(box: Sequence[float], width: int, height: int) -> bool:
    x, y, w, h = box
    return max(-x, -y, x + w - width, y + h - height) > _SLACK


def _unlike(box: Any, around: list[float] | None) -> str:
    """Whether a box covers less than half of what it and its polygons cover together."""
    if around is None or not (are_coordinates(box) and len(box) == 4):
        return ''
    pairs = [(box[i], box[i + 2], around[i], around[i + 2]) for i in (0, 1)]
    shared = math.prod(max(0, min(a + w, b + v) - max(a, b)) for a, w, b, v in pairs)
    both = box[2] * box[3] + around[2] * around[3] - shared
    far = max(max(abs(a - b), abs(a + w - b - v)) for a, w, b, v in pairs)
    return 'box-off-mask' if far > _FAR and 2 * shared < both else ''


def _polygons_problem(polygons: list[Any], width: int, height: int) -> str:
    flat = [polygon for polygon in polygons if are_coordinates(polygon)]
    if len(flat) != len(polygons):
        return ''  # found as malformed
    if not flat or any(polygon_area(polygon) < _LEAST_AREA for polygon in flat):
        return 'degenerate-polygon'
    return 'polygon-beyond' if _reaches_beyond(polygon_box(flat), width, height) else ''


_TINY = 'thinner than a pixel or outside of the image'
_SMALL = 'in images smaller than min_size'
_CORNERS = 'boxes that fit as [x1, y1, x2, y2] alone: write [x, y, width, height]'
_LOOKS, _FEW = 1000, 8  # boxes that tell how all are written; fewer tell nothing


@dataclass(frozen=True)
class Reading:
    """How a config reads annotations.

    classes: names that it asks for; None takes all that the file has.
    training: whether the objects are learnt; else a metric is computed from them.
    masks: whether the pipeline loads masks, or the metric is one of masks.
    min_size: shortest side of the images that are kept, in pixels.
    """

    classes: Sequence[str] | None = None
    training: bool = True
    masks: bool = False
    min_size: int = 0


def count_objects(content: dict[str, Any], place: str, reading: Reading) -> Contents:
    """Count what a network learns from, or is judged by, in a file without malformed entries."""
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
    total = len(content['annotations'])
    if _are_corners(content['annotations'], sizes):
        counts, left_out = Counter(), Counter({_CORNERS: total})
    return Contents(place, 'objects', classes, counts, total, left_out)


def _are_corners(annotations: Sequence[dict[str, Any]], sizes: Mapping[Any, Any]) -> bool:
    """Whether boxes lie in their images as corners, and many end far outside as they are read."""
    step = max(1, len(annotations) // _LOOKS)
    pairs = [(a['bbox'], sizes.get(a['image_id'])) for a in annotations[::step]]
    boxes = [(box, size) for box, size in pairs if size]
    inside = all(
        box[i] < box[i + 2] <= size[i] + _SLACK for box, size in boxes for i in (0, 1)
    )
    far = [any(box[i] + box[i + 2] > 1.1 * size[i] for i in (0, 1)) for box, size in boxes]
    return inside and len(boxes) >= _FEW and 4 * sum(far) >= len(boxes)


def lacking_masks(content: dict[str, Any], reading: Reading) -> int:
    """How many objects have no mask that the metric can read."""
    listed = listed_ids(content, reading)
    return sum(_lacks_mask(entry, reading, listed) for entry in content['annotations'])


def _lacks_mask(annotation: dict[str, Any], reading: Reading, listed: set[Any]) -> bool:
    if not reading.masks or reading.training or annotation['category_id'] not in listed:
        return False
    return not has_mask(annotation.get('segmentation'), whole=True)


def masks_and_none(content: dict[str, Any], reading: Reading) -> Counter[str]:
    """How many objects that count as boxes have a ``mask``, ``none``, or a ``broken`` one.

    A broken one is a list of polygons none of which has three points.
    """
    listed = listed_ids(content, reading)
    sizes = {image['id']: (image['width'], image['height']) for image in content['images']}
    boxes = replace(reading, masks=False)
    counts: Counter[str] = Counter()
    for annotation in content['annotations']:
        if annotation['category_id'] not in listed:
            continue
        if _reason(annotation, sizes.get(annotation['image_id']), boxes):
            continue
        mask: Any = annotation.get('segmentation')
        counts['mask' if has_mask(mask) else 'broken' if mask and any(mask) else 'none'] += 1
    return counts


def listed_ids(content: dict[str, Any], reading: Reading) -> set[Any]:
    """Ids of the categories that are read."""
    names = categories_of(content)
    return {key for key, name in names.items() if name in (reading.classes or names.values())}


def has_mask(mask: Any, whole: bool = False) -> bool:
    """Whether a ``segmentation`` is run lengths, or has a polygon of at least three points.

    With ``whole`` all of its polygons must have: pycocotools can read no others.
    """
    if isinstance(mask, dict):
        return {'size', 'counts'} <= set(mask)
    found = (len(p) >= 6 and len(p) % 2 == 0 for p in mask or ())
    return bool(mask) and (all(found) if whole else any(found))


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
    if reading.masks and reading.training and not has_mask(annotation.get('segmentation')):
        return NO_MASK
    return ''
