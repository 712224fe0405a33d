"""COCO JSON as tools export it: Roboflow, CVAT, Label Studio, and whoever names files otherwise."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from ..errors import DataError
from ..image_files import files_below, is_image
from ..text import some
from .choices import Choices
from .coco_file import read_for_layout
from .coco_mended import categories_of
from .converted import Content, size_of, split_in, write_split
from .copies import copy_of, digest_of
from .layout import Layout, Listing, Split, split_of

_KEYS = (b'"images"', b'"annotations"', b'"categories"')
_LOOKED_AT = 50  # names of images that decide in which folder they are
_CROWDS = 0.05  # of the annotations: COCO has a hundredth, what was painted in CVAT is more
_MARK = re.compile(rb'"iscrowd"\s*:\s*([01])')
_IMAGES = re.compile(rb'"images"\s*:\s*\[')
_NAME = re.compile(rb'"file_name"\s*:\s*"((?:[^"\\]|\\.)*)"')
_WIDTH = re.compile(rb'"width"\s*:\s*[1-9]')


class ImagesNowhere(DataError):
    """No folder has most of the images that an annotation file names."""


@dataclass(frozen=True)
class _Read:
    """One annotation file.

    images: the folder that its names start from, relative to the root; None if they have to be
        written anew.
    """

    file: PurePath
    content: Content
    images: PurePath | None


class CocoExport:
    """A folder with annotation files that are not called ``instances_<folder>.json``."""

    def __init__(self, listing: Listing) -> None:
        self.root, self._listing = listing.root, listing
        self._files = [
            file
            for file in listing.ending('.json')
            if len(file.parts) <= 4 and _is_coco(listing.root / file)
        ]

    def __bool__(self) -> bool:
        return bool(self._files)

    def layout(self, choices: Choices) -> Layout:
        """The files as they are, or mended copies where their names lead nowhere.

        Raises:
            DataError: for two files of one split, images that are not there, and entries that
                cannot be read.
        """
        read = {split: self._read(file) for split, file in self._of_splits(choices).items()}
        crowds = self._crowds(read, choices)
        union = list(dict.fromkeys(name for r in read.values() for name in _categories(r.content)))
        same = all(_categories(r.content) == union for r in read.values())
        images = (image for r in read.values() for image in r.content['images'])
        sized = all(image.get('width') and image.get('height') for image in images)
        plain = sized and all(r.images is not None for r in read.values())
        copy, notes = None, []
        shared = len({r.images for r in read.values()}) < len(read)  # one folder for several
        if shared or not (same and plain and crowds == 'regions'):
            copy = self._mended(read, crowds, union if not same else None)
            notes.append(f'{self.root}: annotation files are mended in {copy}')
            splits = [split_in(copy, name) for name in read]
        else:
            splits = [
                Split(name, self.root / str(r.images), self.root / r.file)
                for name, r in read.items()
            ]
        splits += self._listing.unlabelled_test() if 'test' not in read else []
        order = ('train', 'val', 'test')
        splits.sort(key=lambda s: order.index(s.name) if s.name in order else 3)
        layout = Layout(self.root, self.root, 'det', tuple(splits), (), copy, tuple(notes))
        return with_unlisted(layout)

    def _of_splits(self, choices: Choices) -> dict[str, PurePath]:
        found: dict[str, list[PurePath]] = {}
        for file in self._files:
            found.setdefault(split_of(file), []).append(file)
        for split, several in found.items():
            told = [f for f in several if f.as_posix() in choices.told('file')]
            instances = [f for f in several if f.name.startswith('instances')]
            found[split] = told or (instances if len(instances) == 1 else several)
        if len(found) > 1 and '' in found and 'train' in found:
            found.pop('')  # all of them in one file, and in parts beside it
        return {
            split or self.root.name: PurePath(
                choices.answer('file', {f.as_posix(): f'{split or "its"} annotations {f}'
                                        for f in several}, self.root)
            )
            for split, several in found.items()
        }  # fmt: skip

    def _read(self, file: PurePath) -> _Read:
        content = read_for_layout(self.root / file)
        names = [str(image.get('file_name')) for image in content['images']]
        if not names:
            return _Read(file, content, file.parent)
        step = max(1, len(names) // _LOOKED_AT)
        looked = names[::step]
        for folder in self._folders(file):
            if all((self.root / folder / name).is_file() for name in looked):
                return _Read(file, content, folder)
        anywhere = {PurePath(image).parent for image in self._listing.images}
        whole = [f for f in sorted(anywhere) if self._there(f, looked) == len(looked)]
        if len(whole) > 1:
            raise DataError(
                f'{self.root / file}: its images can be those in {whole[0]} or in {whole[1]}: put '
                f'it beside them, or call their folder {split_of(file) or "images"}'
            )
        best = max((*whole, *self._folders(file)), key=lambda f: self._there(f, looked))
        return _Read(file, content, best if 2 * self._there(best, looked) > len(looked) else None)

    def _there(self, folder: PurePath, names: list[str]) -> int:
        return sum((self.root / folder / name).is_file() for name in names)

    def _folders(self, file: PurePath) -> list[PurePath]:
        """Where images may be that a file names: folders of its split, what is nearest first."""
        split, here = split_of(file), file.parent
        folders = [place / part for place in (here, PurePath()) for part in ('', 'images', 'data')]
        words = [file.stem.removeprefix('instances_'), split, 'valid' if split == 'val' else '']
        for word in filter(None, words):
            folders += map(PurePath, (word, f'images/{word}', f'{word}/images'))
        folders.sort(key=lambda folder: split_of(folder / 'x') != split)
        return list(dict.fromkeys(folders))

    def _crowds(self, read: dict[str, _Read], choices: Choices) -> str:
        """What crowd regions mean: CVAT marks what was painted so, and keeps it as run lengths."""
        annotations = [a for r in read.values() for a in r.content['annotations']]
        crowds = [a for a in annotations if a.get('iscrowd') == 1]
        coded = sum(isinstance(a.get('segmentation'), dict) for a in crowds)
        few = coded <= _CROWDS * len(annotations) and len(crowds) < len(annotations)
        if not crowds or few:
            return 'regions'
        meanings = {
            'objects': 'one object each, as CVAT writes masks that were painted',
            'regions': 'crowd regions, which are neither learnt nor judged',
        }
        file = self.root / next(iter(read.values())).file
        where = f'{file}: of {len(annotations)} annotations {len(crowds)} have iscrowd 1, which'
        return choices.answer('crowd', meanings, where)

    def _mended(self, read: dict[str, _Read], crowds: str, classes: list[str] | None) -> Path:
        facts = [*[r.file for r in read.values()], *self._listing.images]
        key = digest_of(self.root, facts, crowds, [[n, str(r.images)] for n, r in read.items()])

        def build(folder: Path) -> dict[str, Any]:
            said: dict[str, str] = {}
            for name, r in read.items():
                content = dict(r.content)
                content['images'] = [self._image(image, r) for image in content['images']]
                for old, new in zip(r.content['images'], content['images'], strict=True):
                    own = str(old.get('file_name'))
                    if said.setdefault(new['file_name'], own) != own:
                        raise DataError(
                            f'{self.root / r.file}: its image {own} and '
                            f'{said[new["file_name"]]} are both {new["file_name"]} in '
                            f'{self.root}: add the one that is missing'
                        )
                if crowds == 'objects':
                    content['annotations'] = [{**a, 'iscrowd': 0} for a in content['annotations']]
                if classes is not None:
                    content = _renumbered(content, classes)
                write_split(folder, name, content, self.root)
            return {'files': {name: str(r.file) for name, r in read.items()}}

        return copy_of(self.root, f'coco-{key}', build)[0]

    def _image(self, image: dict[str, Any], r: _Read) -> dict[str, Any]:
        """An entry whose name starts from the root, and which has a size."""
        name = str(image.get('file_name')).replace('\\', '/')
        if r.images is not None and (self.root / r.images / name).is_file():
            path: PurePath | None = PurePath((r.images / name).as_posix())
        else:
            path = self._elsewhere(name.rpartition('?d=')[2], r)
        if path is None:
            kind = ImagesNowhere if r.images is None else DataError
            raise kind(f'{self.root / r.file}: its image {name} is nowhere in {self.root}')
        entry = {**image, 'file_name': path.as_posix()}
        if not image.get('width') or not image.get('height'):
            entry['width'], entry['height'] = size_of(self.root / path)
        return entry

    def _elsewhere(self, name: str, r: _Read) -> PurePath | None:
        """An image that is not where the others are; one of another split is another image."""
        path = self._listing.find(name)
        splits = {split_of(folder / 'x') for folder in (r.images, path and path.parent) if folder}
        return path if len(splits - {''}) < 2 else None


def _is_coco(file: Path) -> bool:
    """Whether the keys stand in the file; it is not parsed."""
    text = file.read_bytes()
    return all(key in text for key in _KEYS)


def has_to_be_read(file: Path, folder: Path) -> bool:
    """Whether so many annotations are crowd regions that some may be objects, or images lack sizes.

    Or if the first images are not in their folder: names may begin with it. Nothing is parsed.
    """
    text = file.read_bytes()
    marks = Counter(match[1] for match in _MARK.finditer(text))
    part = _images_in(text)
    names, widths = _NAME.findall(part), sum(1 for _ in _WIDTH.finditer(part))
    there = not names or any((folder / os.fsdecode(n)).is_file() for n in names[:_LOOKED_AT])
    return marks[b'1'] > _CROWDS * marks.total() or len(names) > widths or not there


def with_unlisted(layout: Layout) -> Layout:
    """The layout with a line on images that no annotation file lists: they are not read."""
    listed: set[Path] = set()
    folders = {split.images: layout.root if layout.copy else split.images
               for split in layout.splits if split.labels}  # fmt: skip
    for split in layout.splits:
        names = _NAME.findall(_images_in(split.labels.read_bytes())) if split.labels else ()
        with suppress(ValueError):  # whoever parses the file says what is wrong
            listed |= {folders[split.images] / json.loads(b'"%b"' % name) for name in names}
    tests = [split.images for split in layout.splits if not split.labels]
    images = (i for f in set(folders.values()) for i in files_below(f) if is_image(i.name))
    rest = [i for i in images if i not in listed and not any(map(i.is_relative_to, tests))]
    notes = [f'{len(rest)} images are in no annotation file, such as {min(rest)}'] if rest else []
    return replace(layout, notes=(*layout.notes, *notes))


def _images_in(text: bytes) -> bytes:
    """The images of a file; annotations may have file names too."""
    begin = images.start() if (images := _IMAGES.search(text)) else 0
    ends = [end for key in _KEYS[1:] if (end := text.find(key, begin)) >= 0]
    return text[begin : min(ends, default=len(text))]


def _categories(content: Content) -> list[str]:
    """Names in the order of their ids, root categories left out."""
    names = categories_of(content)
    return [names[key] for key in sorted(names, key=lambda k: (isinstance(k, str), k))]


def _renumbered(content: Content, classes: list[str]) -> Content:
    """With the categories of all files, in one order; unknown ones stay for the checker."""
    number = {name: i for i, name in enumerate(classes, start=1)}
    new = {key: number[name] for key, name in categories_of(content).items()}
    if strange := {a['category_id'] for a in content['annotations']} - set(new):
        raise DataError(f'annotations of category {some(list(map(str, strange)))}, which is not '
                        'listed')
    annotations = [{**a, 'category_id': new[a['category_id']]} for a in content['annotations']]
    categories = [{'id': i, 'name': name} for name, i in number.items()]
    return {**content, 'annotations': annotations, 'categories': categories}
