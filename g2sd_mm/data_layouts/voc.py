"""Pascal VOC: an XML file for each image, as LabelImg, CVAT, Roboflow and VOC itself write it."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path, PurePath
from typing import Any
from xml.etree import ElementTree

from ..errors import DataError
from .choices import Choices
from .coco_mended import polygon_box
from .converted import Thing, content_of, in_splits, size_of, split_in, write_split
from .copies import copy_of, digest_of
from .layout import Layout, Listing, split_of
from .names import names_beside
from .split_lists import listed_splits

#: Folders of VOC whose images are masks.
_MASKS = frozenset(('segmentationclass', 'segmentationobject', 'masks', 'mask'))


class VocFolder:
    """A folder with images and XML files."""

    def __init__(self, listing: Listing) -> None:
        self.root, self._listing = listing.root, listing
        self._files = [f for f in listing.ending('.xml') if _begins_well(listing.root / f)]
        self._pictures = [
            image
            for image in listing.images
            if not _MASKS.intersection(part.lower() for part in image.parts[:-1])
        ]

    def __bool__(self) -> bool:
        return bool(self._files)

    def layout(self, choices: Choices) -> Layout:
        """The folder as COCO annotations, converted once.

        Raises:
            DataError: naming the file of what cannot be read.
        """
        told = choices.told('voc')
        origin = choices.answer('voc', _ORIGINS, self.root) if told else self._origin()
        names = names_beside(self.root)
        facts: list[Any] = [*self._files, *self._listing.images, *self._listing.ending('.txt')]
        facts += [names.file.absolute()] if names else []
        key = digest_of(self.root, facts, origin)

        def build(folder: Path) -> dict[str, Any]:
            read = [self._read(file, origin == 'from-1') for file in self._files]
            if twice := [i for i, n in Counter(e[0] for e in read).items() if n > 1]:
                raise DataError(f'{self.root / twice[0]} has two XML files')
            found = sorted({name for *_, things in read for name, _ in things})
            classes = names.by_number if names and set(found) <= set(names.by_number) else found
            number = {name: i for i, name in enumerate(classes)}
            labelled = {image for image, *_ in read}
            pictures = sorted({*self._pictures, *labelled})
            listed = listed_splits(self._listing, 'Main', pictures, labelled)
            splits: dict[str, list[Any]] = {}
            for (image, size, things), file in zip(read, self._files, strict=True):
                own = split_of(file.parent) or split_of(image.parent)
                split = listed.get(image, '') if listed else own
                made = [Thing(number[name], *facts) for name, facts in things]
                if split or not listed:
                    splits.setdefault(split, []).append((image, size, made))
            named = dict(in_splits(splits, self.root))
            for name, images in named.items():
                write_split(folder, name, content_of(images, classes), self.root)
            ignored = sum(t.ignored for i in named.values() for *_, ts in i for t in ts)
            return {
                'images': {n: len(i) for n, i in named.items()},
                'difficult': ignored,
                'without XML': len(pictures) - len(labelled),
                'in no list': len(labelled - set(listed)) if listed else 0,
            }

        copy, kept, new = copy_of(self.root, f'voc-{key}', build)
        parts = [split_in(copy, name) for name in kept['images']]
        other = next(name for name in _ORIGINS if name != origin)
        notes = [
            f'{self.root}: Pascal VOC files, {"now" if new else "before"} converted to {copy}',
            f'boxes are read as {_ORIGINS[origin]} (--read-as voc={other} for the other way)',
        ]
        if kept['difficult']:
            notes.append(f'{kept["difficult"]} difficult objects are neither learnt nor judged')
        if kept['without XML']:
            notes.append(f'{kept["without XML"]} images have no XML file and are left out')
        if kept['in no list']:
            notes.append(f'{kept["in no list"]} images with an XML file are in no list of a split')
        return Layout(self.root, self.root, 'det', tuple(parts), (), copy, tuple(notes))

    def _origin(self) -> str:
        """VOC counts pixels from 1; the other tools write edges, which begin at 0."""
        devkit = any('JPEGImages' in path.parts for path in self._listing.images)
        for file in self._files[:2000] if devkit else ():
            for box in _parsed(self.root / file).iter('bndbox'):
                left, top, *_ = _edges(box, self.root / file)
                if min(left, top) < 1 or not (left.is_integer() and top.is_integer()):
                    return 'from-0'
        return 'from-1' if devkit else 'from-0'

    def _read(
        self, file: PurePath, from_one: bool
    ) -> tuple[PurePath, tuple[int, int], list[tuple[str, tuple[Any, ...]]]]:
        place = self.root / file
        tree = _parsed(place)
        image = self._image(file, tree.findtext('filename') or '')
        try:
            size = tuple(int(float(tree.findtext(f'size/{s}') or 0)) for s in ('width', 'height'))
            things = [_object(entry, place, from_one) for entry in tree.iter('object')]
        except DataError:
            raise
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f'{place}: {error}') from error
        width, height = size if min(size) > 0 else size_of(self.root / image)
        return image, (width, height), things

    def _image(self, file: PurePath, named: str) -> PurePath:
        """By the name of the XML, which stays when images are renamed; else by what it says."""
        same = self._listing.alike(str(file.with_suffix('')))
        if len(same) > 1:
            folder = file.parent.parent
            same = [i for i in same if i.is_relative_to(folder) or i.parent == file.parent]
        if len(same) != 1 and named:
            alone = len(PurePath(named.replace('\\', '/')).parts) == 1
            found = self._listing.find(str(file.parent / named) if alone else named)
        else:
            found = same[0] if len(same) == 1 else None
        if found is None:
            raise DataError(f'{self.root / file}: its image {named or file.stem} is not there')
        return found


_ORIGINS = {
    'from-1': 'numbers of pixels that count from 1, as in VOC itself',
    'from-0': 'edges that count from 0, as most tools write them',
}


def _begins_well(file: Path) -> bool:
    with file.open('rb') as stream:
        head = stream.read(4096)
    return b'<annotation' in head and b'<annotations' not in head


def _parsed(file: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:
        raise DataError(f'{file}: cannot be read as XML ({error})') from error


def _object(
    entry: ElementTree.Element, file: Path, from_one: bool
) -> tuple[str, tuple[Any, ...]]:
    """Name, and box, polygons and whether it does not count."""
    name = (entry.findtext('name') or '').strip()
    if not name:
        raise DataError(f'{file}: an object without a name')
    polygon = entry.find('polygon')
    polygons: tuple[tuple[float, ...], ...] = ()
    if polygon is not None and len(polygon) >= 6:
        polygons = (_polygon(polygon),)
    box = entry.find('bndbox')
    ignored = (entry.findtext('difficult') or '0').strip() == '1'
    if box is None:
        if not polygons:
            raise DataError(f'{file}: {name} has no bndbox')
        return name, (polygon_box(polygons), polygons, ignored)
    left, top, right, bottom = _edges(box, file)
    if not (left <= right and top <= bottom):
        raise DataError(f'{file}: {name} has the box {left:g} {top:g} {right:g} {bottom:g}')
    shift = float(from_one)  # pixels left to right, both included, as edges
    rect = (left - shift, top - shift, right - left + shift, bottom - top + shift)
    return name, (rect, polygons, ignored)


def _edges(box: ElementTree.Element, file: Path) -> tuple[float, ...]:
    """Left, top, right and bottom."""
    said = [(box.findtext(edge) or '').strip() for edge in ('xmin', 'ymin', 'xmax', 'ymax')]
    try:
        edges = tuple(map(float, said))
    except ValueError:
        edges = ()
    if not edges or not all(map(math.isfinite, edges)):
        raise DataError(f'{file}: a box has the edges {", ".join(map(repr, said))}: no numbers')
    return edges


def _polygon(entry: ElementTree.Element) -> tuple[float, ...]:
    """``x1 y1 x2 y2 ...`` of Roboflow, in the order of their numbers."""
    values = {child.tag: float(child.text or 'nan') for child in entry}
    if not all(map(math.isfinite, values.values())):
        raise ValueError('a polygon has coordinates that are no numbers')
    count = len(values) // 2
    if count < 3 or not all(f'{a}{i}' in values for i in range(1, count + 1) for a in 'xy'):
        return ()
    return tuple(values[f'{axis}{i}'] for i in range(1, count + 1) for axis in 'xy')
