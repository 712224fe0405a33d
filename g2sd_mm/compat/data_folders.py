"""Data sets of the libraries read folders as this project does: nothing stray, nothing in silence.

mmengine lists the files of a folder and takes hidden folders for classes; mmpretrain and mmseg take
the endings that they know, and say nothing of the rest. What they pass over is counted in the log,
in one line for each folder; which names are data is said in :mod:`g2sd_mm.image_files`.
"""

import functools
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from g2sd_mm.errors import DataError
from g2sd_mm.image_files import (
    ENDINGS,
    UNREAD_ENDINGS,
    endings_of,
    is_broken_link,
    is_endless,
    is_image,
    is_stray,
)

_listening: list[set[str]] = []


@contextmanager
def noting_strays() -> Iterator[set[str]]:
    """Stray files and folders, and links without end or to nothing, that are passed over inside."""
    strays: set[str] = set()
    _listening.append(strays)
    try:
        yield strays
    finally:
        _listening[:] = [others for others in _listening if others is not strays]


def note_stray(path: str) -> None:
    """Tell those who listen that something is passed over."""
    for strays in _listening:
        strays.add(path)


def matches(name: str, suffix: str | Iterable[str] | None) -> bool:
    """Whether a name ends in one of the endings, whatever their case; None asks nothing."""
    return suffix is None or is_image(name, (suffix,) if isinstance(suffix, str) else suffix)


def list_data_alone(module: ModuleType) -> None:
    """Of ``mmengine.fileio.backends.local_backend``: nothing stray is listed."""

    def list_dir_or_file(
        self: Any,
        dir_path: str,
        list_dir: bool = True,
        list_file: bool = True,
        suffix: str | tuple[str, ...] | None = None,
        recursive: bool = False,
    ) -> Iterator[str]:
        if list_dir and suffix is not None:
            raise TypeError('`suffix` should be None when `list_dir` is True')
        if suffix is not None and not isinstance(suffix, (str, tuple)):
            raise TypeError('`suffix` must be a string or tuple of strings')
        return _listed(str(dir_path), '', list_dir, list_file, suffix, recursive)

    module.LocalBackend.list_dir_or_file = list_dir_or_file


def _listed(
    place: str,
    inside: str,
    list_dir: bool,
    list_file: bool,
    suffix: str | tuple[str, ...] | None,
    recursive: bool,
) -> Iterator[str]:
    """Names below a folder, relative to where the listing began, as mmengine gives them."""
    start = os.path.join(inside, '') if inside else ''
    with os.scandir(place) as entries:
        for entry in entries:
            name, folder = start + entry.name, entry.is_dir()
            stray = is_stray(entry.name)
            endless = folder and not stray and is_endless(entry.path)
            if stray or endless:
                note_stray(entry.path)
            elif folder:
                if list_dir:
                    yield name
                if recursive:
                    yield from _listed(entry.path, name, list_dir, list_file, suffix, recursive)
            elif list_file and matches(entry.name, suffix):
                if entry.is_file():
                    yield name
                elif is_broken_link(entry.path):
                    note_stray(entry.path)


def count_beside_masks(module: ModuleType) -> None:
    """Of ``mmseg.datasets.basesegdataset``: the log says what is passed over."""
    dataset = module.BaseSegDataset
    load = dataset.load_data_list

    @functools.wraps(load)
    def load_data_list(self: Any) -> list[dict]:
        with noting_strays() as strays:
            entries = load(self)
            folder = self.data_prefix.get('img_path')
            if self.ann_file or folder is None:
                return entries
            others = _other_images(self, folder)
        if not entries:
            raise DataError(_wrong_suffix(self, folder, others))
        say_passed_over(folder, strays, others=others)
        return entries

    dataset.load_data_list = load_data_list


def _other_images(dataset: Any, folder: str) -> list[str]:
    """Images of another ending than the configured one; masks may lie beside the images."""
    from mmengine import fileio

    names = fileio.list_dir_or_file(folder, list_dir=False, recursive=True)
    beside = dataset.data_prefix.get('seg_map_path') == folder
    return [
        name
        for name in names
        if is_image(name, (*ENDINGS, *UNREAD_ENDINGS))
        and not is_image(name, (dataset.img_suffix,))
        and not (beside and is_image(name, (dataset.seg_map_suffix,)))
    ]


def _wrong_suffix(dataset: Any, folder: str, others: list[str]) -> str:
    there = f'there are {endings_of(others)}: set img_suffix' if others else 'and no others'
    return f'no images ending in {dataset.img_suffix} in {folder}; {there}'


def say_passed_over(
    root: str,
    strays: Iterable[str],
    loose: Sequence[str] = (),
    others: Sequence[str] = (),
    files: Sequence[str] = (),
) -> None:
    """One line in the log, if anything is passed over.

    Args:
        root: folder of the images.
        strays: what :func:`noting_strays` heard of.
        loose: images that lie beside class folders and belong to none.
        others: images of another ending than the one that is read.
        files: other names that are not read.
    """
    from mmengine.logging import print_log

    hidden = list(strays)
    broken = sum(map(is_broken_link, hidden))
    lost = [name for name in files if is_image(name, (*ENDINGS, *UNREAD_ENDINGS))]
    counts = {
        'images in no class folder': len(loose),
        'images of another ending': len(others),
        'files that are not read': len(files),
        'links that lead to nothing': broken,
        'hidden or system files and folders': len(hidden) - broken,
    }
    if not any(counts.values()):
        return
    parts = [f'{number} {what}' for what, number in counts.items() if number]
    examples = endings_of([*loose, *others, *files])
    print_log(
        f'{root}: passed over {", ".join(parts)}' + (f' ({examples})' if examples else ''),
        logger='current',
        level=logging.WARNING if loose or others or lost or broken else logging.INFO,
    )
