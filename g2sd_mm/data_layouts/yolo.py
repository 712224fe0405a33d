"""YOLO folders: a text file of boxes or polygons for each image, names in ``data.yaml``.

No converter library fits: those that are well kept turn polygons into pixels and back
(supervision), know boxes alone (globox), or bring a framework of their own (datumaro, fiftyone).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from ..errors import DataError
from ..image_files import is_image
from .choices import Choices
from .converted import (
    Thing,
    content_of,
    in_splits,
    polygon_box,
    size_of,
    split_in,
    write_split,
)
from .copies import copy_of, digest_of
from .layout import Layout, Listing, Split, split_named, split_of
from .names import Names, names_beside, names_of_mapping, yaml_of

_SPLITS = ('train', 'val', 'test')
_BEYOND = 0.01  # of a side; files are rounded


class YoloFolder:
    """A folder with images and text files.

    Args:
        listing: of its files.
    """

    def __init__(self, listing: Listing) -> None:
        self.root, self._listing = listing.root, listing
        self._texts = frozenset(listing.ending('.txt'))
        self.yaml = self._find_yaml()

    def __bool__(self) -> bool:
        if not self._texts:
            return False
        return any(self._label(image) in self._texts for image in self._listing.images)

    def _find_yaml(self) -> tuple[Path, dict[str, Any]] | None:
        for path in self._listing.ending('.yaml', '.yml'):
            if len(path.parts) > 2 or path.name in ('dvc.yaml', 'mkdocs.yml'):
                continue
            text = (self.root / path).read_text(encoding='utf-8-sig', errors='replace')
            if 'names' in text and ('train' in text or 'nc' in text):
                return self.root / path, yaml_of(self.root / path)
        return None

    def _label(self, image: PurePath) -> PurePath:
        """As the tools that read these folders find it: ``labels`` for the last ``images``."""
        parts = list(image.parts)
        for i in range(len(parts) - 2, -1, -1):
            if parts[i].lower() == 'images':
                beside = PurePath(*parts[:i], 'labels', *parts[i + 1 :]).with_suffix('.txt')
                return beside if beside in self._texts else image.with_suffix('.txt')
        beside = image.parent / 'labels' / f'{image.stem}.txt'
        return beside if beside in self._texts else image.with_suffix('.txt')

    def layout(self, choices: Choices) -> Layout:
        """The folder as COCO annotations, converted once.

        Raises:
            DataError: naming file and line of what cannot be read.
        """
        splits = dict(in_splits(self._splits(), self.root))
        labels = [t for image in self._listing.images if (t := self._label(image)) in self._texts]
        facts = [*labels, *(self.yaml or ())[:1], *(self._names_file() or ())]
        described = {name: [str(image) for image in images] for name, images in splits.items()}
        key = digest_of(self.root, [*self._listing.images, *facts], described)

        def build(folder: Path) -> dict[str, Any]:
            made = {name: list(self._things(images)) for name, images in splits.items()}
            classes = self._classes(made)
            for name, images in made.items():
                write_split(folder, name, content_of(images, classes), self.root)
            return {'images': {name: len(images) for name, images in made.items()}}

        copy, _, new = copy_of(self.root, f'yolo-{key}', build)
        parts = []
        for name, images in splits.items():
            unlabelled = name == 'test' and not any(self._label(i) in self._texts for i in images)
            unread = Split(name, copy / name, labelled=False)
            parts.append(unread if unlabelled else split_in(copy, name))
        note = f'{self.root}: YOLO text files, {"now" if new else "before"} converted to {copy}'
        return Layout(self.root, self.root, 'det', tuple(parts), (), copy, (note,))

    # Splits ---------------------------------------------------------------------------------------

    def _splits(self) -> dict[str, list[PurePath]]:
        content = self.yaml[1] if self.yaml else {}
        named = {s: content[s] for s in _SPLITS if content.get(s)}
        if not named and 'valid' in content:
            named = {'val': content['valid']}
        found: dict[str, list[PurePath]] = {}
        for split, places in named.items():
            entries = places if isinstance(places, list) else [places]
            images = [image for place in entries for image in self._below(str(place))]
            if images:
                found[split] = list(dict.fromkeys(images))
            elif split != 'test':
                assert self.yaml is not None
                raise DataError(
                    f'{self.yaml[0]}: {split} is {places}, where there are no images below '
                    f'{self.root}'
                )
        if found:
            return found
        listed = {
            split: [image for image in self._below(str(path)) if image is not None]
            for path in self._listing.ending('.txt')
            if len(path.parts) == 1 and (split := split_named(path.stem))
        }
        if any(listed.values()):
            return listed
        for image in self._listing.images:
            found.setdefault(split_of(image.parent), []).append(image)
        return found

    def _below(self, place: str) -> list[PurePath]:
        """Images of a folder, or of a list of files, as a data.yaml names it."""
        name = PurePath(place.replace('\\', '/'))
        if name.suffix == '.txt':
            return self._of_list(name)
        path = self._resolved(name)
        if path is None:
            return []
        return [image for image in self._listing.images if image.is_relative_to(path)]

    def _resolved(self, name: PurePath) -> PurePath | None:
        """A place below the root: as written, from ``path``, or without leading ``../``."""
        base, own = '', PurePath('.')
        if self.yaml:
            base = str(self.yaml[1].get('path') or '')
            own = PurePath(self.yaml[0].parent.relative_to(self.root))
        plain = PurePath(*[part for part in name.parts if part not in ('..', '.', '/')])
        tried = [own / base / name, own / name, own / plain, plain, PurePath(*plain.parts[1:])]
        for candidate in tried:
            whole = Path(self.root, candidate)
            if whole.exists() and whole.resolve().is_relative_to(self.root.resolve()):
                return PurePath(whole.resolve().relative_to(self.root.resolve()))
        return None

    def _of_list(self, name: PurePath) -> list[PurePath]:
        path = self._resolved(name)
        if path is None:
            return []
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
        names = None if self.yaml and 'names' in self.yaml[1] else self._names()
        return [names.file] if names else []

    def _names(self) -> Names | None:
        return names_beside(self.root)

    def _classes(self, made: dict[str, list[tuple[PurePath, Any, list[Thing]]]]) -> tuple[str, ...]:
        highest = max((t.label for i in made.values() for *_, ts in i for t in ts), default=-1)
        names: tuple[str, ...]
        if self.yaml and 'names' in self.yaml[1]:
            names, place = names_of_mapping(self.yaml[1]['names'], self.yaml[0]), self.yaml[0]
        elif found := self._names():
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
                f'{self.root / file} has class {highest}, and {place} names {len(names)}, '
                f'0 to {len(names) - 1}: add the name, or mend the file'
            )
        return names

    def _things(
        self, images: list[PurePath]
    ) -> Iterator[tuple[PurePath, tuple[int, int], list[Thing]]]:
        points = (self.yaml[1].get('kpt_shape') if self.yaml else None) or (0,)
        for image in images:
            label, size = self._label(image), size_of(self.root / image)
            things = []
            if label in self._texts:
                things = list(_read_label(self.root / label, size, math.prod(points)))
            yield image, size, things


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
        if label != int(label) or label < 0:
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
                'and pairs of a polygon'
            )
        if any(not -_BEYOND <= value <= 1 + _BEYOND for value in values):
            raise DataError(
                f'{where}: {max(values, key=abs):g} is no share of the image: coordinates go from '
                '0 to 1, pixels are divided by width and height'
            )
        yield _thing(int(label), values, size)


def _thing(label: int, values: list[float], size: tuple[int, int]) -> Thing:
    width, height = size
    if len(values) == 4:
        x, y, w, h = values
        box = ((x - w / 2) * width, (y - h / 2) * height, w * width, h * height)
        return Thing(label, box)
    scaled = tuple(v * (height if i % 2 else width) for i, v in enumerate(values))
    return Thing(label, polygon_box([scaled]), (scaled,))

