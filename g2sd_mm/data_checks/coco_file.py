"""Read a COCO annotation file, and find the entries that no reader survives.

Used before training too: what is looked for here would end a run with a ``KeyError``, hang it, or
crash the C code that draws masks.
"""

from __future__ import annotations

import hashlib
import json
import math
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import DataError
from .findings import Finding

#: Sides and coordinates beyond this are no picture's (and masks are drawn in this many steps).
_LARGEST = 1 << 20
_PIXELS = 1 << 30
_NUMBERS = frozenset((int, float))
_LISTS = ('images', 'annotations', 'categories')


#: Annotations that were read before they are needed, by digest; taken out when they are.
_kept: dict[bytes, Annotations] = {}


@dataclass(frozen=True)
class Annotations:
    """An annotation file as every reader gets it.

    content: a dict with lists ``images``, ``annotations`` and ``categories`` of dicts, completed by
        :func:`complete`.
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


def _bytes(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f'{path}: {error.strerror or error}') from error


def _parsed(data: bytes, path: str | Path) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f'{path}: this is not a JSON file ({error})') from error


def _lists(content: Any, path: str | Path) -> dict[str, Any]:
    lists = content if isinstance(content, dict) else {}
    for name in _LISTS:
        entries = lists.get(name)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise DataError(f'{path}: not a COCO annotation file: no list {name!r} of entries')
    return lists


def complete(content: dict[str, Any]) -> list[str]:
    """Fill in optional entries that are missing, and take out what only doubles a name; in place.

    ``iscrowd`` becomes 0, ``area`` that of the mask, or of the box without one. A category that
    nothing uses goes if another one has its name: exports of Roboflow have a root category that is
    called like the project.

    Returns:
        a line for each kind of change.
    """
    filled: Counter[str] = Counter()
    for annotation in content['annotations']:
        if annotation.get('iscrowd') is None:
            annotation['iscrowd'] = 0
            filled['iscrowd'] += 1
        if annotation.get('area') is None and (area := area_of(annotation)) is not None:
            annotation['area'] = area
            filled['area'] += 1
    how = {'iscrowd': '0', 'area': "the mask's or the box's"}
    notes = [
        f'{number} of {len(content["annotations"])} annotations have no {key}: {how[key]} is taken'
        for key, number in filled.items()
    ]
    unused = _doubled_categories(content)
    if unused:
        content['categories'] = [c for i, c in enumerate(content['categories']) if i not in unused]
        names = ', '.join(sorted({repr(name) for name in unused.values()}))
        notes.append(f'an unused category with the name of another one is passed over: {names}')
    return notes


def area_of(annotation: dict[str, Any]) -> float | None:
    """Square pixels of a mask (polygons or run lengths), or of the box; None if there is neither.

    Polygons of one object are taken not to overlap.
    """
    mask: Any = annotation.get('segmentation')
    box: Any = annotation.get('bbox')
    if isinstance(mask, dict) and (pixels := ones(mask.get('counts'))) is not None:
        return float(pixels)
    if isinstance(mask, list) and mask and all(map(are_coordinates, mask)):
        area = sum(map(polygon_area, mask))
        if area > 0:
            return area
    if are_coordinates(box) and len(box) == 4:
        return float(box[2] * box[3])
    return None


def polygon_area(polygon: list[float]) -> float:
    """Area enclosed, in square pixels; 0 for what is no polygon."""
    if len(polygon) < 6 or len(polygon) % 2:
        return 0.0
    xs, ys = polygon[::2], polygon[1::2]
    return abs(sum(xs[i - 1] * ys[i] - xs[i] * ys[i - 1] for i in range(len(xs)))) / 2


def categories_of(content: dict[str, Any]) -> dict[Any, str]:
    """Names of the categories by their ids, in the order of the file.

    A root category is left out: one that nothing uses and that others name as their
    ``supercategory``, itself below ``none``.
    """
    parents = {repr(c.get('supercategory')) for c in content['categories']}
    used = _used(content)
    return {
        c['id']: c['name']
        for c in content['categories']
        if not (_is_root(c) and repr(c['name']) in parents and c['id'] not in used)
    }


def _is_root(category: dict[str, Any]) -> bool:
    return category.get('supercategory') == 'none'


def _used(content: dict[str, Any]) -> set[Any]:
    return {a['category_id'] for a in content['annotations'] if _is_id(a.get('category_id'))}


def _doubled_categories(content: dict[str, Any]) -> dict[int, str]:
    """Places and names of the unused categories whose name another one has."""
    places: dict[str, list[int]] = {}
    for place, category in enumerate(content['categories']):
        if isinstance(category.get('name'), str) and _is_id(category.get('id')):
            places.setdefault(category['name'], []).append(place)
    doubled = {name: found for name, found in places.items() if len(found) > 1}
    if not doubled:
        return {}
    used, categories = _used(content), content['categories']
    unused: dict[int, str] = {}
    for name, found in doubled.items():
        spare = [i for i in found if categories[i]['id'] not in used]
        if len(spare) == len(found):  # nothing of this name here: its root goes
            spare = [i for i in found if _is_root(categories[i])]
        if len(found) - len(spare) == 1:
            unused |= dict.fromkeys(spare, name)
    return unused


def refuse_malformed(content: dict[str, Any], path: str | Path) -> None:
    """Stop at what no reader survives.

    Raises:
        DataError: naming the first such entry, and how many there are.
    """
    problems = list(malformed(content, path))
    if problems:
        more = f' (and {len(problems) - 1} more)' if len(problems) > 1 else ''
        raise DataError(
            f'{path}: {problems[0].detail}{more}; python tools/check_data.py '
            f'{shlex.quote(str(path))} --images DIR lists all'
        )


def malformed(content: dict[str, Any], path: str | Path) -> Iterator[Finding]:
    """Entries that cannot be read, ids that are given twice, file names that lead elsewhere."""
    file = str(path)
    sizes: dict[Any, tuple[int, int]] = {}
    for number, image in enumerate(content['images']):
        problem = image_problem(image)
        if problem:
            yield Finding('malformed', file, f'image {number}: {problem}')
            continue
        sizes[image['id']] = (image['height'], image['width'])
        if leads_outside(image['file_name']):
            yield Finding('outside-folder', file, f'image {number}: {image["file_name"]!r}')
    for number, category in enumerate(content['categories']):
        if not _is_id(category.get('id')) or not isinstance(category.get('name'), str):
            yield Finding('malformed', file, f'category {number}: no id or name')
    for number, annotation in enumerate(content['annotations']):
        problem = _annotation_problem(annotation, sizes)
        if problem:
            yield Finding('malformed', file, f'annotation {number}: {problem}')
    for name, key in (*((name, 'id') for name in _LISTS), ('categories', 'name')):
        counts = Counter(e[key] for e in content[name] if isinstance(e.get(key), (int, str)))
        for value, times in counts.items():
            if times > 1:
                yield Finding('duplicate-id', file, f'{name}: {key} {value!r} {times} times')


def leads_outside(file_name: str) -> bool:
    """Whether a name is absolute, climbs out of its folder, or is an address."""
    parts = PurePosixPath(file_name).parts
    return file_name.startswith('/') or '..' in parts or '://' in file_name or '\0' in file_name


def image_problem(image: dict[str, Any]) -> str:
    """Why the entry of an image cannot be read; empty if it can."""
    if not _is_id(image.get('id')):
        return f'its id is {_short(image.get("id"))}'
    if not isinstance(image.get('file_name'), str) or not image['file_name']:
        return f'its file_name is {_short(image.get("file_name"))}'
    sides: list[Any] = [image.get(side) for side in ('height', 'width')]
    if not all(type(side) is int and 0 < side <= _LARGEST for side in sides):
        return f'height and width are {_short(sides)}'
    return 'more pixels than are read' if math.prod(sides) > _PIXELS else ''


def _annotation_problem(
    annotation: dict[str, Any], sizes: dict[Any, tuple[int, int]]
) -> str:
    for key in ('id', 'image_id', 'category_id'):
        if not _is_id(annotation.get(key)):
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
    pixels = covered(counts)
    if pixels is None or not _are_numbers(given) or pixels != math.prod(given):
        return f'its run lengths cover {pixels} pixels of {_short(given)}'
    return ''


def _is_id(value: Any) -> bool:
    return type(value) is int or isinstance(value, str)


def _are_numbers(values: list[Any]) -> bool:
    return _NUMBERS.issuperset(map(type, values)) and all(map(math.isfinite, values))


def are_coordinates(values: Any) -> bool:
    """Whether it is a list of numbers that may be a picture's.

    Files have tens of millions of them, so there is no loop in Python here.
    """
    if not isinstance(values, list) or not _NUMBERS.issuperset(map(type, values)):
        return False
    if not values:
        return True
    return (
        min(values) >= -_LARGEST
        and max(values) <= _LARGEST
        and not math.isnan(sum(values))  # a NaN may pass the others, every comparison being false
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'


# Runs that do not add up to the picture, or a text that is no run lengths at all, would stop a run
# in the middle: they are found before.

def covered(counts: Any) -> int | None:
    """Pixels that run lengths cover, zeros and ones together; None if they are none.

    Args:
        counts: a list of numbers, or the compressed text (five bits a character, least significant
            first, a sixth that says whether more follow; from the third run on as the difference to
            the run before the last).
    """
    runs = _checked_runs(counts)
    return None if runs is None else sum(runs)


def ones(counts: Any) -> int | None:
    """Pixels of the object: every second run, from the second on; None if they are none."""
    runs = _checked_runs(counts)
    return None if runs is None else sum(runs[1::2])


def _checked_runs(counts: Any) -> list[int] | None:
    if isinstance(counts, str):
        runs = _runs(counts)
    else:
        runs = counts if isinstance(counts, list) else None
    if runs is None or not all(type(run) is int and run >= 0 for run in runs):
        return None
    return runs


def _runs(text: str) -> list[int] | None:
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return None if shift else runs
