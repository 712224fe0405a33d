"""YOLO folders: a text file of boxes or polygons for each image, names in ``data.yaml``.

No converter library fits: those that are well kept turn polygons into pixels and back
(supervision), know boxes alone (globox), or bring a framework of their own (datumaro, fiftyone).
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterator, Sequence
from itertools import starmap
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from ..errors import DataError
from ..image_files import is_image
from ..text import some
from .choices import Choices
from .coco_mended import polygon_box
from .converted import Thing, content_of, in_splits, size_of, split_in, write_split
from .copies import copy_of, digest_of
from .layout import Layout, Listing, Split, split_named, split_of
from .names import names_beside, names_of_mapping, yaml_of

_SPLITS = ('train', 'val', 'test')
_NONE = ('', 'false', 'no', 'off', 'none', '[]')  # of an entry: there is no such split
_BEYOND = 0.01  # of a side; files are rounded
_MOST_CLASSES = 1 << 16
_FEW = 8  # objects; fewer do not tell key points from polygons


class YoloFolder:
    """A folder with images and text files."""

    def __init__(self, listing: Listing) -> None:
        self.root, self._listing = listing.root, listing
        self._texts = {text.with_suffix('.txt'): text for text in listing.ending('.txt')}
        self.yaml = self._find_yaml()

    def __bool__(self) -> bool:
        return bool(self._texts) and any(map(self._label, self._listing.images))

    def _find_yaml(self) -> tuple[Path, dict[str, Any]] | None:
        for path in self._listing.ending('.yaml', '.yml'):
            if len(path.parts) > 2 or path.name in ('dvc.yaml', 'mkdocs.yml'):
                continue
            text = (self.root / path).read_text(encoding='utf-8-sig', errors='replace')
            if 'names' in text and ('train' in text or 'nc' in text):
                return self.root / path, yaml_of(self.root / path)
        return None

    def _label(self, image: PurePath) -> PurePath | None:
        """As the tools that read these folders find it: ``labels`` for the last ``images``."""
        parts = list(image.parts)
        beside = image.parent / 'labels' / image.name
        for i in range(len(parts) - 2, -1, -1):
            if parts[i].lower() == 'images':
                beside = PurePath(*parts[:i], 'labels', *parts[i + 1 :])
                break
        found = (self._texts.get(place.with_suffix('.txt')) for place in (beside, image))
        return next(filter(None, found), None)

    def layout(self, choices: Choices) -> Layout:
        """The folder as COCO annotations, converted once.

        Raises:
            DataError: naming file and line of what cannot be read.
        """
        splits = dict(in_splits(self._splits(), self.root))
        labels = [label for image in self._listing.images if (label := self._label(image))]
        facts: list[Any] = [*labels, *self._names_file()]
        facts += [self.yaml[0].absolute()] if self.yaml else []
        described = {name: [str(image) for image in images] for name, images in splits.items()}
        key = digest_of(self.root, [*self._listing.images, *facts], described)

        def build(folder: Path) -> dict[str, Any]:
            made = {name: list(self._things(images)) for name, images in splits.items()}
            self._refuse_points([row for images in made.values() for row in images])
            classes = self._classes(made)
            for name, images in made.items():
                write_split(folder, name, content_of(images, classes), self.root)
            return {'images': {name: len(images) for name, images in made.items()}}

        copy, _, new = copy_of(self.root, f'yolo-{key}', build)
        parts = []
        for name, images in splits.items():
            unlabelled = name == 'test' and not any(map(self._label, images))
            unread = Split(name, copy / name, labelled=False)
            parts.append(unread if unlabelled else split_in(copy, name))
        note = f'{self.root}: YOLO text files, {"now" if new else "before"} converted to {copy}'
        return Layout(self.root, self.root, 'det', tuple(parts), (), copy, (note,))

    # Splits ---------------------------------------------------------------------------------------

    def _splits(self) -> dict[str, list[PurePath]]:
        file, content = self.yaml or (self.root, {})
        said = {s: p for s, p in content.items() if str(p).lower() not in _NONE}
        if 'valid' in said:
            said.setdefault('val', said['valid'])
        named = {split: said[split] for split in _SPLITS if split in said}
        written: dict[str, set[str]] = {}
        found: dict[str, list[PurePath]] = {}
        for split, places in named.items():
            entries = [_plain(p) for p in (places if isinstance(places, list) else [places])]
            written[split] = set(entries)
            images = [image for place in entries for image in self._below(place)]
            if images:
                found[split] = list(dict.fromkeys(images))
            elif split != 'test':
                looked = [str(path) for place in entries for path in self._places(place)]
                raise DataError(
                    f'{file}: {split} is {places}, and {self.root} has no images in '
                    f'{some(list(dict.fromkeys(looked)), 6)}: mend the entry, or add the folder'
                )
        both = [set(found.get(split, ())) for split in ('train', 'val')]
        if both[0] and both[0] <= both[1] and written['train'] != written['val']:
            raise DataError(
                f'{file}: val is {named["val"]}, where all images of train '
                f'({named["train"]}) are: name a folder of other images, or take val away and '
                'give --val-share 0.2'
            )
        if found:
            return found
        lists = (path for path in self._listing.ending('.txt') if len(path.parts) == 1)
        listed = {s: self._below(str(path)) for path in lists if (s := split_named(path.stem))}
        if any(listed.values()):
            return listed
        for image in self._listing.images:
            found.setdefault(split_of(image.parent), []).append(image)
        return found

    def _below(self, place: str) -> list[PurePath]:
        """Images of a folder, or of a list of files, as a data.yaml names it."""
        path = self._resolved(place)
        if path is None:
            return []
        if place.endswith('.txt'):
            return self._of_list(path)
        return [image for image in self._listing.images if image.is_relative_to(path)]

    def _places(self, place: str) -> list[PurePath]:
        """Where it can be: as written, from ``path``, without ``../``, without its first folder.

        A folder of a split is never left out: what is left would be the images of all.
        """
        name, base, own = PurePath(place), '', PurePath('.')
        if self.yaml:
            base = str(self.yaml[1].get('path') or '')
            own = PurePath(self.yaml[0].parent.relative_to(self.root))
        tried = [own / base / name, own / name]
        plain = [part for part in name.parts if part not in ('..', '.', '/')]
        if plain:
            tried += [PurePath(own, *plain), PurePath(*plain)]
        if len(plain) > 1 and not split_named(plain[0]):
            tried.append(PurePath(*plain[1:]))
        return tried

    def _resolved(self, place: str) -> PurePath | None:
        """The first of its places that is there, below the root."""
        for candidate in self._places(place):
            whole = Path(self.root, candidate)
            if whole.exists() and whole.resolve().is_relative_to(self.root.resolve()):
                return PurePath(whole.resolve().relative_to(self.root.resolve()))
        return None

    def _of_list(self, path: PurePath) -> list[PurePath]:
        lines = (self.root / path).read_text(encoding='utf-8-sig').splitlines()
        found = []
        for line in filter(None, map(str.strip, lines)):
            if not is_image(line):
                return []  # not a list of images
            image = self._listing.find(line.removeprefix('./'))
            if image is None:
                raise DataError(f'{self.root / path}: {line} is not there')
            found.append(image)
        return found

    # Names and objects ----------------------------------------------------------------------------

    def _names_file(self) -> list[Path]:
        names = None if self.yaml and 'names' in self.yaml[1] else names_beside(self.root)
        return [names.file.absolute()] if names else []

    def _classes(self, made: dict[str, list[tuple[PurePath, Any, list[Thing]]]]) -> tuple[str, ...]:
        highest = max((t.label for i in made.values() for *_, ts in i for t in ts), default=-1)
        names: tuple[str, ...]
        if self.yaml and 'names' in self.yaml[1]:
            names, place = names_of_mapping(self.yaml[1]['names'], self.yaml[0]), self.yaml[0]
        elif found := names_beside(self.root):
            names, place = found.by_number, found.file
        else:
            return tuple(f'class {i}' for i in range(highest + 1))
        if highest >= len(names):
            file = next(
                self._label(image)
                for images in made.values()
                for image, _, things in images
                if any(thing.label == highest for thing in things)
            )
            raise DataError(
                f'{self.root / str(file)} has class {highest}, and {place} names {len(names)}, '
                f'0 to {len(names) - 1}: add the name, or mend the file'
            )
        return names

    def _key_points(self) -> int:
        """How many numbers of key points follow a box."""
        if self.yaml is None or not (shape := self.yaml[1].get('kpt_shape')):
            return 0
        if not isinstance(shape, list) or not all(str(side).isdecimal() for side in shape):
            raise DataError(
                f'{self.yaml[0]}: kpt_shape is {shape}; expected a list such as [17, 3]: how many '
                'points, and numbers of each'
            )
        return math.prod(map(int, shape))

    def _things(
        self, images: list[PurePath]
    ) -> Iterator[tuple[PurePath, tuple[int, int], list[Thing]]]:
        points = self._key_points()
        for image in images:
            label, size = self._label(image), size_of(self.root / image)
            things = list(_read_label(self.root / label, size, points)) if label else []
            yield image, size, things

    def _refuse_points(self, rows: list[tuple[Any, Any, list[Thing]]]) -> None:
        """Boxes with key points behind them would be read as polygons."""
        polygons = [(p, size) for _, size, things in rows for t in things for p in t.polygons]
        alike = len({len(p) for p, _ in polygons}) == 1 and all(starmap(_has_points, polygons))
        if alike and len(polygons) >= _FEW and not (self.yaml and 'kpt_shape' in self.yaml[1]):
            raise DataError(
                f'{self.root}: its rows may be polygons, or boxes with key points: write kpt_shape '
                'into data.yaml: [] for polygons, else how many points, and numbers of each'
            )


def _plain(place: Any) -> str:
    """An entry without what changes nothing, such as ``./``, ``a/../`` and a stroke at the end."""
    return posixpath.normpath(str(place).replace('\\', '/'))


def _read_label(file: Path, size: tuple[int, int], key_points: int) -> Iterator[Thing]:
    """Objects of one file: ``class x y w h`` (the middle), or ``class x y x y x y ...``."""
    try:
        lines = file.read_text(encoding='utf-8-sig').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{file}: cannot be read as text ({error})') from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f'{file}, line {number}'
        try:
            label, *values = map(float, line.split())
        except ValueError:
            raise DataError(f'{where}: {line[:40]!r} is no row of numbers') from None
        if not label.is_integer() or not 0 <= label < _MOST_CLASSES:
            raise DataError(f'{where}: class {label:g} is no number of a class')
        if key_points and len(values) == 4 + key_points:
            values = values[:4]
        if len(values) == 5:
            raise DataError(
                f'{where}: six numbers are a class, a box and a confidence, as predictions have '
                'them: give labels, with five'
            )
        if len(values) != 4 and (len(values) < 6 or len(values) % 2):
            raise DataError(
                f'{where}: {len(values) + 1} numbers; expected a class and 4 of a box, or a class '
                'and pairs of a polygon; of key points data.yaml says kpt_shape'
            )
        if any(not -_BEYOND <= value <= 1 + _BEYOND for value in values):
            raise DataError(
                f'{where}: {max(values, key=abs):g} is no share of the image: coordinates go from '
                '0 to 1, pixels are divided by width and height'
            )
        yield _thing(int(label), values, size)


def _thing(label: int, values: list[float], size: tuple[int, int]) -> Thing:
    scaled = tuple(v * size[i % 2] for i, v in enumerate(values))
    if len(values) == 4:
        x, y, w, h = scaled
        return Thing(label, (x - w / 2, y - h / 2, w, h))
    return Thing(label, polygon_box([scaled]), (scaled,))


def _has_points(polygon: Sequence[float], size: tuple[int, int]) -> bool:
    """Whether the first numbers may be a box, in which all points lie; (0, 0) is one unseen."""
    points = np.reshape(polygon, (-1, 2))
    low, high = points[0] - points[1] / 2 - 1, points[0] + points[1] / 2 + 1  # a pixel around it
    inside = ((points[2:] >= low) & (points[2:] <= high)).all(1) | ~points[2:].any(1)
    return bool((low >= -2).all() and (high <= np.add(size, 2)).all() and inside.all())
