"""Recognise the layout of a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import DataError
from .class_folders import ClassFolders
from .coco import CocoSplit
from .duplicates import TRAINING
from .image_masks import ImageMasks
from .masks import Labels
from .source import Source

LAYOUTS = (
    '{train,val}/<class>/<image>; <class>/<image>; '
    '[annotations/]instances_<folder>.json beside <folder>/; '
    'images/<split>/ beside annotations/<split>/ with masks as PNG of the same names'
)


def recognise(root: str | Path, labels: Labels | None = None) -> list[Source]:
    """The splits of a folder.

    Args:
        root: folder laid out as one of :data:`LAYOUTS`.
        labels: how masks are read.

    Raises:
        DataError: if it is laid out as none of them, or there is no such folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f'no folder {root}')
    for layout in (_coco(root), _masks(root, labels), _classes(root)):
        sources = list(layout)
        if sources:
            return sources
    raise DataError(f'{root} is laid out as none of: {LAYOUTS}')


def _coco(root: Path) -> Iterator[Source]:
    for folder in (root, root / 'annotations'):
        for file in sorted(folder.glob('instances_*.json')):
            split = file.stem.removeprefix('instances_')
            yield CocoSplit(file, root / split, split)


def _masks(root: Path, labels: Labels | None) -> Iterator[Source]:
    images, masks = root / 'images', root / 'annotations'
    if not images.is_dir() or not masks.is_dir():
        return
    splits = sorted(p.name for p in images.iterdir() if p.is_dir() and (masks / p.name).is_dir())
    for split in splits:
        yield ImageMasks(images / split, masks / split, split, labels)


def _classes(root: Path) -> Iterator[Source]:
    folders = {path.name: path for path in root.iterdir() if path.is_dir()}
    if TRAINING not in folders:
        if folders:
            yield ClassFolders(root, root.name)
        return
    training = ClassFolders(folders[TRAINING], TRAINING)
    yield training
    for name in ('val', 'test'):
        if name in folders:
            yield ClassFolders(folders[name], name, known=training.classes)
