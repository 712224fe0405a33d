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
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from g2sd_mm.errors import DataError
from g2sd_mm.folder_index import Walk
from g2sd_mm.image_files import (
    ENDINGS,
    UNREAD_ENDINGS,
    endings_of,
    is_broken_link,
    is_endless,
    is_image,
    is_stray,
)

#: What mmpretrain reads if it is asked for nothing else.
_STOCK = frozenset(('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif'))


@dataclass(eq=False)  # each is another one, whatever it has heard
class Passed:
    """What a reading passes over.

    strays: paths of stray files and folders, and of links without end or to nothing.
    files: names of the other files that are not read.
    walk: is told of every folder that is read.
    """

    strays: set[str] = field(default_factory=set)
    files: list[str] = field(default_factory=list)
    walk: Walk | None = None


_listening: list[Passed] = []


@contextmanager
def noting_strays(walk: Walk | None = None) -> Iterator[Passed]:
    """What listings inside of the block pass over; the walk is told which folders they read."""
    passed = Passed(walk=walk)
    _listening.append(passed)
    try:
        yield passed
    finally:
        _listening.remove(passed)


def note_stray(path: str) -> None:
    """Tell those who listen that something is passed over."""
    for passed in _listening:
        passed.strays.add(path)


def note_files(names: Iterable[str]) -> None:
    """Tell whoever listens of files that are not read."""
    if _listening:
        _listening[-1].files += names


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


def files_in(folder: str) -> Iterator[str]:
    """Names of all files below a local folder, relative to it, as they come."""
    return _listed(folder, '', list_dir=False, list_file=True, suffix=None, recursive=True)


def _listed(
    place: str,
    inside: str,
    list_dir: bool,
    list_file: bool,
    suffix: str | tuple[str, ...] | None,
    recursive: bool,
) -> Iterator[str]:
    """Names below a folder, relative to where the listing began, as mmengine gives them."""
    walks = [passed.walk for passed in _listening if passed.walk]
    for walk in walks:
        walk.enter(place)
    start = os.path.join(inside, '') if inside else ''
    with os.scandir(place) as entries:
        for entry in entries:
            name, folder = start + entry.name, entry.is_dir()
            stray = is_stray(entry.name)
            endless = folder and not stray and is_endless(entry.path)
            if walks and not stray and entry.is_symlink() and (endless or not folder):
                for walk in walks:
                    walk.pass_link()
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


def count_in_class_folders(module: ModuleType) -> None:
    """Of ``mmpretrain.datasets.custom``: the log says what is passed over."""
    dataset = module.CustomDataset
    make, find, is_valid = dataset.__init__, dataset._find_samples, dataset.is_valid_file

    @functools.wraps(make)
    def __init__(self: Any, *args: Any, **options: Any) -> None:
        if frozenset(options.get('extensions', _STOCK)) == _STOCK:
            options['extensions'] = ENDINGS
        make(self, *args, **options)

    @functools.wraps(is_valid)
    def is_valid_file(self: Any, filename: str) -> bool:
        valid = is_valid(self, filename)
        if not valid:
            note_files([filename])
        return valid

    @functools.wraps(find)
    def _find_samples(self: Any) -> list:
        with noting_strays() as passed:
            try:
                samples = find(self)
            except RuntimeError as error:
                if not str(error).startswith('Found 0 files'):
                    raise
                raise DataError(_nothing_found(self, passed.files)) from error
            loose = _loose_images(self) if self.with_label else []
        _say_passed_over(self.img_prefix, passed, loose)
        return samples

    dataset.__init__ = __init__
    dataset.is_valid_file = is_valid_file
    dataset._find_samples = _find_samples


def _loose_images(dataset: Any) -> list[str]:
    """Images that lie beside class folders and belong to none."""
    from mmengine import fileio

    names = fileio.list_dir_or_file(dataset.img_prefix, list_dir=False)
    return [name for name in names if is_image(name)]


def _nothing_found(dataset: Any, files: Sequence[str]) -> str:
    root, endings = dataset.img_prefix, ' '.join(sorted(dataset.extensions))
    there = endings_of(files)
    loose = len(_loose_images(dataset)) if dataset.with_label else 0
    if loose:
        return (
            f'{root} has {loose} images and no class folders with images: move the images of each '
            'class into a folder of its own'
        )
    where = 'in its class folders' if dataset.with_label else 'below it'
    return f'{root} has no images {where} ({there or "no files"}); endings that are read: {endings}'


def count_beside_masks(module: ModuleType) -> None:
    """Of ``mmseg.datasets.basesegdataset``: the log says what is passed over."""
    dataset = module.BaseSegDataset
    load = dataset.load_data_list

    @functools.wraps(load)
    def load_data_list(self: Any) -> list[dict]:
        with noting_strays() as passed:
            entries = load(self)
            folder = self.data_prefix.get('img_path')
            if self.ann_file or folder is None:
                return entries
            others = _other_images(self, folder)
        if not entries:
            raise DataError(_wrong_suffix(self, folder, others))
        _say_passed_over(folder, passed, [], others)
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


def _say_passed_over(
    root: str, passed: Passed, loose: Sequence[str], others: Sequence[str] = ()
) -> None:
    from mmengine.logging import print_log

    broken = sum(map(is_broken_link, passed.strays))
    lost = [name for name in passed.files if is_image(name, (*ENDINGS, *UNREAD_ENDINGS))]
    counts = {
        'images in no class folder': len(loose),
        'images of another ending': len(others),
        'files that are not read': len(passed.files),
        'links that lead to nothing': broken,
        'hidden or system files and folders': len(passed.strays) - broken,
    }
    if not any(counts.values()):
        return
    parts = [f'{number} {what}' for what, number in counts.items() if number]
    examples = endings_of([*loose, *others, *passed.files])
    print_log(
        f'{root}: passed over {", ".join(parts)}' + (f' ({examples})' if examples else ''),
        logger='current',
        level=logging.WARNING if loose or others or lost or broken else logging.INFO,
    )
