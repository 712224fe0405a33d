"""The splits of a folder, for the checker."""

from __future__ import annotations

from pathlib import Path

from ..data_layouts import Split, find_layout
from .class_folders import ClassFolders
from .coco import CocoSplit
from .duplicates import TRAINING
from .image_masks import ImageMasks
from .masks import Labels
from .source import Source


def recognise(root: str | Path, labels: Labels | None = None) -> list[Source]:
    """The splits of a folder.

    Args:
        root: folder laid out as one of :data:`~g2sd_mm.data_layouts.LAYOUTS`.
        labels: how masks are read.

    Raises:
        DataError: if it is laid out as none of them, or there is no such folder.
    """
    layout = find_layout(root)
    known = None
    sources: list[Source] = []
    for split in layout.splits:
        if split.labels is None:
            folders = ClassFolders(split.images, split.name, known)
            known = folders.classes if split.name == TRAINING else known
            sources.append(folders)
        else:
            sources.append(_annotated(split, layout.task, labels))
    return sources


def _annotated(split: Split, task: str, labels: Labels | None) -> Source:
    assert split.labels is not None
    if task == 'det':
        return CocoSplit(split.labels, split.images, split.name)
    return ImageMasks(split.images, split.labels, split.name, labels)
