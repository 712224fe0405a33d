"""Read a COCO annotation file, and find the entries that no reader survives.

Used before training too: what is looked for here would end a run with a ``KeyError``, hang it, or
crash the C code that draws masks.
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
import shlex
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import DataError
from .coco_mended import LARGEST, NUMBERS, are_coordinates, complete, is_id, runs_of

_PIXELS = 1 << 30
_LISTS = ('images', 'annotations', 'categories')


#: Annotations that were read before they are needed, by digest; taken out when they are.
_kept: dict[bytes, Annotations] = {}


@dataclass(frozen=True)
class Annotations:
    """An annotation file as every reader gets it.

    Attributes:
        content: a dict with lists ``images``, ``annotations`` and ``categories`` of dicts,
            completed by :func:`complete`.
        notes: what was filled in or passed over, a line each.
    """

    content: dict[str, Any]
    notes: tuple[str, ...] = ()


def read_annotations(path: str | Path, keep: bool = False) -> Annotations:
    """Read a file for the data set, the check before a run, or anybody else who learns from it.

    Args:
        path: of the JSON.
        keep: whether the next one who reads the same bytes gets the same content, so that a large
            file is parsed once. It must not be changed in between.

    Raises:
        DataError: if it is no annotation file, or has entries that no reader survives.
    """
    data = _bytes(path)
    digest = hashlib.blake2b(data).digest() if keep or _kept else b''
    annotations = _kept.pop(digest, None)
    if annotations is None:
        content = _lists(_parsed(data, path), path)
        with _without_collecting():
            annotations = Annotations(content, tuple(complete(content)))
            refuse_malformed(content, path)
    if keep:
        _kept[digest] = annotations
    return annotations


def read_coco(path: str | Path) -> dict[str, Any]:
    """The content of an annotation file: a dict with lists ``images``, ``annotations``,
    ``categories`` of dicts. What is in those is :func:`malformed`'s business.

    Raises:
        DataError: if it is not that, or no JSON, or not there.
    """
    return _lists(_parsed(_bytes(path), path), path)


def read_for_metric(path: str | Path) -> dict[str, Any]:
    """As :func:`read_coco`, but of files too that an evaluator has written for itself.

    Those have no names of images, and no list of annotations where there are none.
    """
    content = _parsed(_bytes(path), path)
    if isinstance(content, dict):
        content.setdefault('annotations', [])
    _lists(content, path)
    complete(content)
    return content


def read_for_layout(path: str | Path) -> dict[str, Any]:
    """As :func:`read_annotations`, but of files too whose images lack a size, which is found later.

    Raises:
        DataError: if it is no annotation file, or categories or annotations cannot be read.
    """
    content = read_coco(path)
    complete(content)
    sized = {**content, 'images': [i for i in content['images'] if i.get('width')]}
    refuse_malformed(sized, path)
    return content


def _bytes(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f'{path}: {error.strerror or error}') from error


def _parsed(data: bytes, path: str | Path) -> Any:
    try:
        with _without_collecting():
            return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f'{path}: this is not a JSON file ({error})') from error


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Millions of new lists, none of which is garbage, would be looked through again and again."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _lists(content: Any, path: str | Path) -> dict[str, Any]:
    lists = content if isinstance(content, dict) else {}
    for name in _LISTS:
        entries = lists.get(name)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise DataError(f'{path}: not a COCO annotation file: no list {name!r} of entries')
    return lists


def refuse_malformed(content: dict[str, Any], path: str | Path) -> None:
    """Stop at what no reader survives.

    Raises:
        DataError: naming the first such entry, and how many there are.
    """
    problems = list(malformed(content))
    if problems:
        more = f' (and {len(problems) - 1} more)' if len(problems) > 1 else ''
        raise DataError(
            f'{path}: {problems[0][1]}{more}; python tools/check_data.py '
            f'{shlex.quote(str(path))} --images DIR lists all'
        )


def malformed(content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Entries that cannot be read, ids that are given twice, file names that lead elsewhere.

    Yields:
        kind of finding (``malformed``, ``duplicate-id``, ``outside-folder``), which entry and why.
    """
    sizes: dict[Any, tuple[int, int]] = {}
    for number, image in enumerate(content['images']):
        problem = image_problem(image)
        if problem:
            yield 'malformed', f'image {number}: {problem}'
            continue
        sizes[image['id']] = (image['height'], image['width'])
        if leads_outside(image['file_name']):
            yield 'outside-folder', f'image {number}: {image["file_name"]!r}'
    for number, category in enumerate(content['categories']):
        if not is_id(category.get('id')) or not isinstance(category.get('name'), str):
            yield 'malformed', f'category {number}: no id or name'
    for number, annotation in enumerate(content['annotations']):
        problem = _annotation_problem(annotation, sizes)
        if problem:
            yield 'malformed', f'annotation {number}: {problem}'
    for name, key in (*((name, 'id') for name in _LISTS), ('categories', 'name')):
        values = [e[key] for e in content[name] if isinstance(e.get(key), (int, str))]
        if len(set(values)) == len(values):
            continue
        counts = Counter(values)
        for value, times in counts.items():
            if times > 1:
                yield 'duplicate-id', f'{name}: {key} {value!r} {times} times'


def leads_outside(file_name: str) -> bool:
    """Whether a name is absolute, climbs out of its folder, or is an address."""
    parts = PurePosixPath(file_name).parts if '..' in file_name else ()
    return file_name.startswith('/') or '..' in parts or '://' in file_name or '\0' in file_name


def image_problem(image: dict[str, Any]) -> str:
    """Why the entry of an image cannot be read; empty if it can."""
    if not is_id(image.get('id')):
        return f'its id is {_short(image.get("id"))}'
    if not isinstance(image.get('file_name'), str) or not image['file_name']:
        return f'its file_name is {_short(image.get("file_name"))}'
    sides: list[Any] = [image.get(side) for side in ('height', 'width')]
    if not all(type(side) is int and 0 < side <= LARGEST for side in sides):
        return f'height and width are {_short(sides)}'
    return 'more pixels than are read' if math.prod(sides) > _PIXELS else ''


def _annotation_problem(
    annotation: dict[str, Any], sizes: dict[Any, tuple[int, int]]
) -> str:
    for key in ('id', 'image_id', 'category_id'):
        if not is_id(annotation.get(key)):
            return f'its {key} is {_short(annotation.get(key))}'
    box: Any = annotation.get('bbox')
    if not are_coordinates(box) or len(box) != 4:
        return f'its bbox is {_short(box)}'
    if not _are_numbers([annotation.get('area')]):
        return f'its area is {_short(annotation.get("area"))}'
    if annotation.get('iscrowd') not in (None, 0, 1):
        return f'its iscrowd is {_short(annotation["iscrowd"])}'
    mask = annotation.get('segmentation')
    if isinstance(mask, dict):
        return _run_length_problem(mask, sizes.get(annotation['image_id']))
    # polygons are flat lists of coordinates; too few of them are another matter
    if mask is not None and not (isinstance(mask, list) and all(map(are_coordinates, mask))):
        return 'its segmentation is neither polygons nor run lengths'
    return ''


def _run_length_problem(mask: dict[str, Any], size: tuple[int, int] | None) -> str:
    given, counts = mask.get('size'), mask.get('counts')
    if not isinstance(given, list) or len(given) != 2 or (size and tuple(given) != size):
        return f'its run lengths are of size {_short(given)}, its image of {_short(size)}'
    pixels = None if (runs := runs_of(counts)) is None else sum(runs)
    if pixels is None or not _are_numbers(given) or pixels != math.prod(given):
        return f'its run lengths cover {pixels} pixels of {_short(given)}'
    return ''


def _are_numbers(values: list[Any]) -> bool:
    return NUMBERS.issuperset(map(type, values)) and all(map(math.isfinite, values))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'
