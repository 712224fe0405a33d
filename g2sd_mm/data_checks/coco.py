"""A COCO annotation file and its images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError
from .coco_file import are_coordinates, image_problem, leads_outside, malformed, read_coco
from .findings import Finding
from .images import Picture
from .masks import Labels, Mask

_SLACK = 1.0  # px; boxes are rounded by about so much
_LEAST_AREA = 1e-3  # square px


class CocoSplit:
    """One annotation file.

    Args:
        file: the JSON.
        folder: the images lie below it.
        split: name of the split.
        classes: names that the config asks for; None asks nothing.

    Raises:
        DataError: if the file is no COCO annotation file, or there is no such folder.
    """

    def __init__(
        self,
        file: str | Path,
        folder: str | Path,
        split: str,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.file, self.folder, self.split, self.place = str(file), Path(folder), split, str(file)
        if not self.folder.is_dir():
            raise DataError(f'no image folder {folder} for {file}')
        self._content = read_coco(file)
        self._malformed = list(malformed(self._content, file))
        self._wanted = classes
        self._listed = {_key(entry.get('id')) for entry in self._content['images']}
        self._entries = {
            entry['id']: entry
            for entry in self._content['images']
            if not image_problem(entry) and not leads_outside(entry['file_name'])
        }

    def images(self) -> Sequence[str]:
        """All listed images."""
        return [self._path(entry) for entry in self._entries.values()]

    def masks(self) -> Sequence[tuple[str, Labels]]:
        """None: masks are in the JSON."""
        return ()

    def label(self, path: str) -> None:
        """No class: an image may show several."""
        return

    def structure(self) -> Iterable[Finding]:
        """Everything that the JSON shows by itself."""
        yield from self._malformed
        yield from self._categories()
        for annotation in self._content['annotations']:
            yield from self._annotation(annotation)

    def compare(
        self, pictures: Mapping[str, Picture], masks: Mapping[str, Mask]
    ) -> Iterable[Finding]:
        """Sizes as listed and as decoded."""
        for entry in self._entries.values():
            picture = pictures[self._path(entry)]
            if picture.size and picture.size != (entry['width'], entry['height']):
                kind = 'rotated-annotated' if picture.rotated else 'size-mismatch'
                listed = f'{entry["width"]}x{entry["height"]}'
                found = f'{picture.size[0]}x{picture.size[1]}'
                yield Finding(kind, picture.path, f'listed {listed}, is {found}')

    def _path(self, entry: dict[str, Any]) -> str:
        return str(self.folder / entry['file_name'])

    def _categories(self) -> Iterator[Finding]:
        listed = {_key(c.get('id')): c.get('name') for c in self._content['categories']}
        used = Counter(_key(a.get('category_id')) for a in self._content['annotations'])
        for name in self._wanted or ():
            if name not in listed.values():
                yield Finding('lacking-category', self.file, repr(name))
        for category, name in listed.items():
            if category not in used:
                yield Finding('unused-category', self.file, repr(name))
        for category, number in used.items():
            if category not in listed:
                yield Finding('unknown-category', self.file, f'{number} of category {category}')

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
        if isinstance(mask, list):
            kinds.append(_polygons_problem(mask, *size))
        yield from (Finding(kind, self._path(entry), where) for kind in kinds if kind)


def _key(value: Any) -> int | str:
    """An id as it is, or whatever stands in its place as text."""
    return value if isinstance(value, (int, str)) else repr(value)


def _box_problem(box: list[float], width: int, height: int) -> str:
    x, y, w, h = box
    if w < 1 or h < 1:
        return 'degenerate-box'
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        return 'box-outside'
    beyond = max(-x, -y, x + w - width, y + h - height)
    return 'box-beyond' if beyond > _SLACK else ''


def _polygons_problem(polygons: list[Any], width: int, height: int) -> str:
    flat = [polygon for polygon in polygons if are_coordinates(polygon)]
    if len(flat) != len(polygons):
        return ''  # found as malformed
    if not flat or any(_area(polygon) < _LEAST_AREA for polygon in flat):
        return 'degenerate-polygon'
    xs, ys = [x for p in flat for x in p[::2]], [y for p in flat for y in p[1::2]]
    beyond = max(-min(xs), -min(ys), max(xs) - width, max(ys) - height)
    return 'polygon-beyond' if beyond > _SLACK else ''


def _area(polygon: list[float]) -> float:
    """Area enclosed, in square pixels; 0 for what is no polygon."""
    if len(polygon) < 6 or len(polygon) % 2:
        return 0.0
    xs, ys = polygon[::2], polygon[1::2]
    return abs(sum(xs[i - 1] * ys[i] - xs[i] * ys[i - 1] for i in range(len(xs)))) / 2
