"""What COCO files leave out, or write otherwise, brought to what every reader takes."""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

#: Sides and coordinates beyond this are no picture's (and masks are drawn in this many steps).
LARGEST = 1 << 20
NUMBERS = frozenset((int, float))


def complete(content: dict[str, Any]) -> list[str]:
    """Fill in optional entries that are missing, and take out what only doubles a name; in place.

    ``iscrowd`` becomes 0, ``bbox`` that of the polygons, ``area``, if it is missing or 0, that of
    the mask, or of the box without one. Ids become numbers, see :func:`number_ids`. A category that
    nothing uses goes if another one has its name: exports of Roboflow have a root category that is
    called like the project.

    Returns:
        a line for each kind of change.
    """
    notes = number_ids(content)
    filled: Counter[str] = Counter()
    for annotation in content['annotations']:
        get = annotation.get
        if get('iscrowd') is None:
            annotation['iscrowd'] = 0
            filled['iscrowd'] += 1
        if 'bbox' not in annotation and (box := box_of(annotation)) is not None:
            annotation['bbox'] = box
            filled['bbox'] += 1
        if _lacks_area(annotation) and (area := area_of(annotation)) is not None:
            annotation['area'] = area
            filled['area'] += 1
    how = {'iscrowd': '0', 'bbox': "the mask's", 'area': "the mask's or the box's"}
    notes += [
        f'{number} of {len(content["annotations"])} annotations have no {key}: {how[key]} is taken'
        for key, number in filled.items()
    ]
    unused = _doubled_categories(content)
    if unused:
        content['categories'] = [c for i, c in enumerate(content['categories']) if i not in unused]
        names = ', '.join(sorted({repr(name) for name in unused.values()}))
        notes.append(f'an unused category with the name of another one is passed over: {names}')
    return notes


def _lacks_area(annotation: dict[str, Any]) -> bool:
    """Whether it has none, or 0 though its box, and its mask if it has one, are not empty.

    Exporters write 0 where they did not compute it, and mmdet leaves out what has no area.
    """
    area: Any = annotation.get('area')
    if type(area) not in NUMBERS or area > 0:
        return area is None
    mask: Any = annotation.get('segmentation')
    polygons = mask if isinstance(mask, list) and all(map(are_coordinates, mask)) else []
    if any(polygons) and not sum(map(polygon_area, polygons)):
        return False
    box: Any = annotation.get('bbox')
    whole = are_coordinates(box) and len(box) == 4 and min(box[2:]) > 0
    return whole and bool(area_of(annotation))


def number_ids(content: dict[str, Any]) -> list[str]:
    """Ids that pycocotools cannot work with as numbers that it can, in place.

    It takes texts for lists, and an annotation of id 0 for one that matches nothing. Texts of
    digits become their number, other texts count from 1 in the order of the file; ids of
    annotations are shifted to begin at 1.

    Returns:
        a line for each kind of change.
    """
    notes = []
    for name, key in (('images', 'image_id'), ('categories', 'category_id'), ('annotations', '')):
        entries = content[name]
        ids = [entry.get('id') for entry in entries]
        kinds = set(map(type, ids))
        change: Callable[[Any], Any]
        used = [a.get(key) for a in content['annotations']] if key else []
        if str in kinds or (str in set(map(type, used)) and kinds == {int}):
            change = _numbers_for(ids)
            notes.append(f'ids of {name} are texts: {_said(ids, change)}')
        elif not key and kinds == {int} and min(ids) < 1:
            shift = 1 - min(ids)
            change = partial(operator.add, shift)
            notes.append(f'ids of annotations begin at {min(ids)}: they are counted from 1')
        else:
            continue
        for entry in entries:
            if type(entry.get('id')) in (int, str):
                entry['id'] = change(entry['id'])
        for annotation in content['annotations'] if key else ():
            if type(annotation.get(key)) in (int, str):
                annotation[key] = change(annotation[key])
    return notes


def _numbers_for(ids: list[Any]) -> Callable[[Any], Any]:
    """From texts to numbers; what is in no list stays as it is, to be found as unknown."""
    texts = dict.fromkeys(str(value) for value in ids if type(value) in (int, str))
    if all(text.isascii() and text.isdigit() for text in texts):
        numbers = {text: int(text) for text in texts}
    else:
        numbers = {text: number for number, text in enumerate(texts, start=1)}
    return lambda value: numbers.get(str(value), value)


def _said(ids: list[Any], change: Callable[[Any], Any]) -> str:
    first = next(value for value in ids if type(value) in (int, str))
    return f'{first!r} is read as {change(first)}'


def box_of(annotation: dict[str, Any]) -> list[float] | None:
    """``[x, y, width, height]`` around the polygons; None without any."""
    mask: Any = annotation.get('segmentation')
    if not (isinstance(mask, list) and mask and all(map(are_coordinates, mask))):
        return None
    return list(polygon_box(mask)) if any(len(polygon) > 1 for polygon in mask) else None


def polygon_box(polygons: Iterable[Sequence[float]]) -> tuple[float, float, float, float]:
    """The box around polygons ``x, y, x, y, ...``."""
    xs = [x for polygon in polygons for x in polygon[::2]]
    ys = [y for polygon in polygons for y in polygon[1::2]]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def area_of(annotation: dict[str, Any]) -> float | None:
    """Square pixels of a mask (polygons or run lengths), or of the box; None if there is neither.

    Polygons of one object are taken not to overlap.
    """
    mask: Any = annotation.get('segmentation')
    box: Any = annotation.get('bbox')
    if isinstance(mask, dict) and (runs := runs_of(mask.get('counts'))) is not None:
        return float(sum(runs[1::2]))
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


def runs_of(counts: Any) -> list[int] | None:
    """Run lengths of a mask, zeros and ones by turns; None of what is none, and would crash C code.

    Args:
        counts: a list of numbers, or the compressed text (five bits a character, least significant
            first, a sixth that says whether more follow; from the third run on as the difference to
            the run before the last).
    """
    runs = _decompressed(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs):
        return None
    return runs


def _decompressed(text: str) -> list[int] | None:
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
    return {a['category_id'] for a in content['annotations'] if is_id(a.get('category_id'))}


def _doubled_categories(content: dict[str, Any]) -> dict[int, str]:
    """Places and names of the unused categories whose name another one has."""
    places: dict[str, list[int]] = {}
    for place, category in enumerate(content['categories']):
        if isinstance(category.get('name'), str) and is_id(category.get('id')):
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


def is_id(value: Any) -> bool:
    """Whether an entry can be found by it."""
    return type(value) is int or isinstance(value, str)


def are_coordinates(values: Any) -> bool:
    """Whether it is a list of numbers that may be a picture's.

    Files have tens of millions of them, so there is no loop in Python here.
    """
    if not isinstance(values, list) or not NUMBERS.issuperset(map(type, values)):
        return False
    if not values:
        return True
    return (
        min(values) >= -LARGEST
        and max(values) <= LARGEST
        and not math.isnan(sum(values))  # a NaN may pass the others, every comparison being false
    )
