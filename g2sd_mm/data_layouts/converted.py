"""Boxes and polygons of other tools as COCO content, and COCO files written into a copy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from PIL import Image

from ..errors import DataError
from .coco_mended import polygon_area
from .copies import link
from .layout import Split

Content = dict[str, Any]
_FILE = 'instances_{}.json'
_ORIENTATION = 0x0112  # EXIF tag; 5 to 8 lie on their side
_TURNED = ('JPEG', 'MPO', 'PNG')  # what is turned when it is read; pillow has turned TIFF already


@dataclass(frozen=True)
class Thing:
    """One object: its class, box ``(x, y, w, h)`` in pixels, polygons, whether it counts."""

    label: int
    box: tuple[float, float, float, float]
    polygons: tuple[tuple[float, ...], ...] = ()
    ignored: bool = False


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of an image as it is read: turned upright. Pixels are not decoded.

    Raises:
        DataError: if it is none.
    """
    return sizes_of(path)[1]


def sizes_of(path: Path) -> tuple[tuple[int, int], tuple[int, int]]:
    """Width and height as stored, and as :func:`size_of` tells them.

    Raises:
        DataError: if it is no image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.format in _TURNED and image.getexif().get(_ORIENTATION, 1) in range(5, 9)
    except Exception as error:  # damaged data can make a parser raise anything
        raise DataError(f'{path}: cannot be read as an image') from error
    return (width, height), ((height, width) if turned else (width, height))


def content_of(
    images: Iterable[tuple[PurePath, tuple[int, int], Sequence[Thing]]], classes: Sequence[str]
) -> Content:
    """COCO content; ids of all kinds count from 1, areas are the polygons' or the boxes'.

    Images are paths below their folder, with (width, height) in pixels and objects.
    """
    content: Content = {
        'images': [],
        'annotations': [],
        'categories': [{'id': i, 'name': name} for i, name in enumerate(classes, start=1)],
    }
    for number, (path, (width, height), things) in enumerate(images, start=1):
        content['images'].append(
            {'id': number, 'file_name': path.as_posix(), 'width': width, 'height': height}
        )
        for thing in things:
            entry: dict[str, Any] = {
                'id': len(content['annotations']) + 1,
                'image_id': number,
                'category_id': thing.label + 1,
                'bbox': list(thing.box),
                'area': thing.box[2] * thing.box[3],
                'iscrowd': int(thing.ignored),
            }
            if thing.polygons:
                entry['segmentation'] = [list(polygon) for polygon in thing.polygons]
                entry['area'] = sum(map(polygon_area, entry['segmentation']))
            content['annotations'].append(entry)
    return content


def write_split(copy: Path, split: str, content: Content, images: Path) -> None:
    """Annotations of a split, whose names start from ``images``, and links to its images alone.

    What learns without labels reads the folder: images of another split must not be in it.
    """
    (copy / _FILE.format(split)).write_text(json.dumps(content), encoding='utf-8')
    (copy / split).mkdir()
    for image in content['images']:
        link(images / image['file_name'], copy / split / image['file_name'])


def split_in(copy: Path, split: str) -> Split:
    """What :func:`write_split` wrote."""
    return Split(split, copy / split, copy / _FILE.format(split))


def in_splits(
    splits: dict[str, list[Any]], root: Path
) -> Iterator[tuple[str, list[Any]]]:
    """Splits in their order; of data without any, one that is called like the folder."""
    for name in ('train', 'val', 'test', ''):
        if splits.get(name):
            yield name or root.name, splits[name]
