"""Boxes and polygons of other tools as COCO content, and COCO files written into a copy."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from PIL import Image

from ..errors import DataError
from .choices import Choices
from .coco_file import read_annotations
from .coco_mended import polygon_area
from .copies import copy_of, digest_of, held_out, link
from .layout import Layout, Split

Content = dict[str, Any]
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


def polygon_box(polygons: Iterable[Sequence[float]]) -> tuple[float, float, float, float]:
    """The box around polygons ``x, y, x, y, ...``."""
    xs = [x for polygon in polygons for x in polygon[::2]]
    ys = [y for polygon in polygons for y in polygon[1::2]]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def content_of(
    images: Iterable[tuple[PurePath, tuple[int, int], Sequence[Thing]]], classes: Sequence[str]
) -> Content:
    """COCO content; ids of all kinds count from 1, areas are the polygons' or the boxes'.

    Args:
        images: path below the images' folder, (width, height) in pixels, objects.
        classes: names by number.
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


def annotation_file(copy: Path, split: str) -> Path:
    """Where a copy has the annotations of a split."""
    return copy / f'instances_{split}.json'


def write_split(copy: Path, split: str, content: Content, images: Path) -> None:
    """Annotations of a split, and a folder with links to its images and to no others.

    What learns without labels reads the folder: images of another split must not be in it.

    Args:
        copy: folder to write into.
        split: its name.
        content: whose names start from ``images``.
        images: folder.
    """
    annotation_file(copy, split).write_text(json.dumps(content), encoding='utf-8')
    (copy / split).mkdir()
    for image in content['images']:
        link(images / image['file_name'], copy / split / image['file_name'])


def split_in(copy: Path, split: str) -> Split:
    """What :func:`write_split` wrote."""
    return Split(split, copy / split, annotation_file(copy, split))


def hold_out_objects(layout: Layout, train: Split, choices: Choices) -> Layout:
    """Two annotation files in the place of one: a share of the images is for validation.

    An image belongs to its rarest class, and of every class a share is held out.
    """
    assert train.labels is not None and choices.val_share is not None
    file, share = train.labels, choices.val_share

    def build(folder: Path) -> dict[str, Any]:
        content = read_annotations(file).content
        out = held_out(_rarest(content), share, choices.split_seed)
        for name, here in (('train', False), ('val', True)):
            images = [i for i in content['images'] if (i['file_name'] in out) is here]
            ids = {image['id'] for image in images}
            part = [a for a in content['annotations'] if a['image_id'] in ids]
            made = {**content, 'images': images, 'annotations': part}
            write_split(folder, name, made, train.images)
        return {'held out': sorted(out), 'of': len(content['images']), **choices.plain()}

    key = digest_of(file.parent, [Path(file.name)], share, choices.split_seed)
    copy, facts, _ = copy_of(layout.origin, f'split-{key}', build)
    splits = [split_in(copy, name) for name in ('train', 'val')]
    return after_holding_out(layout, train, copy, splits, facts)


def after_holding_out(
    layout: Layout, divided: Split, copy: Path, splits: Sequence[Split], facts: dict[str, Any]
) -> Layout:
    """The layout with both splits, and a line that says where they are written down.

    Args:
        layout: before.
        divided: the split that both are from; in a folder ``test`` it may be called so.
        copy: folder of both.
        splits: both.
        facts: what the copy says of them.
    """
    number = len(facts['held out'])
    note = f'{number} of {facts["of"]} images are held out for validation: {copy / "copy.json"}'
    others = [split for split in layout.splits if split.name == 'test' and split != divided]
    root = layout.root if layout.task == 'det' else copy
    return replace(
        layout, root=root, splits=(*splits, *others), copy=copy, notes=(*layout.notes, note)
    )


def _rarest(content: Content) -> dict[str, str]:
    """File name -> the class of the image's objects that has the fewest, or nothing."""
    counts = Counter(annotation['category_id'] for annotation in content['annotations'])
    names = {image['id']: image['file_name'] for image in content['images']}
    rarest: dict[str, Any] = dict.fromkeys(names.values())
    used = [(a['category_id'], a['image_id']) for a in content['annotations']]
    for category, image in sorted(used, key=lambda u: (counts[u[0]], str(u[0])), reverse=True):
        if image in names:
            rarest[names[image]] = category  # the last one is the rarest
    return {name: repr(category) for name, category in rarest.items()}


def in_splits(
    splits: dict[str, list[Any]], root: Path
) -> Iterator[tuple[str, list[Any]]]:
    """Splits in their order; of data without any, one that is called like the folder."""
    for name in ('train', 'val', 'test', ''):
        if splits.get(name):
            yield name or root.name, splits[name]
