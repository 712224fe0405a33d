"""Lists of samples are made quickly, however long they are.

mmpretrain joins every path twice and asks two functions of every name, and mmengine makes an array
of each sample: of 1.28 million images most of the start is spent there. The lists are the same. The
names of large folders that have not changed are not read again (:mod:`g2sd_mm.folder_index`).
"""

from __future__ import annotations

import functools
import os
import pickle
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from g2sd_mm import folder_index
from g2sd_mm.compat.data_folders import files_in, note_files, note_stray, noting_strays
from g2sd_mm.compat.import_hooks import replace_function
from g2sd_mm.folder_index import Listing

if TYPE_CHECKING:
    import numpy as np

#: What mmpretrain calls samples: paths relative to the root, with their labels where there are any.
Samples = list[str] | list[tuple[str, int]]


def serialise_quickly(module: ModuleType) -> None:
    """Of ``mmengine.dataset.base_dataset``."""
    import numpy as np  # is loaded by now; reading a command's --help needs none

    serialise = module.BaseDataset._serialize_data

    @functools.wraps(serialise)
    def _serialize_data(self: Any) -> tuple[np.ndarray, np.ndarray]:
        if not self.data_list:
            return serialise(self)
        parts = [pickle.dumps(sample, protocol=4) for sample in self.data_list]
        self.data_list.clear()
        ends = np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)))
        return np.frombuffer(bytearray().join(parts), np.uint8), ends

    module.BaseDataset._serialize_data = _serialize_data


def list_quickly(module: ModuleType) -> None:
    """Of ``mmpretrain.datasets.custom``."""
    dataset, stock = module.CustomDataset, module.get_samples
    load = dataset.load_data_list

    @functools.wraps(stock)
    def get_samples(
        root: str,
        folder_to_idx: Mapping[str, int] | None,
        is_valid_file: Callable[[str], bool],
        backend: Any = None,
    ) -> tuple[Samples, set[str] | None]:
        asked = getattr(is_valid_file, '__self__', None)
        usual = getattr(is_valid_file, '__func__', None) is dataset.is_valid_file
        if asked is None or not usual or backend is not None or not _is_local(root):
            return stock(root, folder_to_idx, is_valid_file, backend)
        classes = [''] if folder_to_idx is None else sorted(folder_to_idx)
        found = images_below(root, classes, asked.extensions)
        note_files(found.others)
        if folder_to_idx is None:
            return found.names[''], None
        samples: list[tuple[str, int]] = []
        for name, label in sorted(folder_to_idx.items()):
            start = os.path.join(name, '')
            samples += [(start + image, label) for image in found.names[name]]
        return samples, {name for name in classes if not found.names[name]}

    @functools.wraps(load)
    def load_data_list(self: Any) -> list[dict]:
        if self.ann_file or not _is_local(self.img_prefix):
            return load(self)
        samples, start = self._find_samples(), os.path.join(self.img_prefix, '')
        if self.with_label:
            return [{'img_path': start + name, 'gt_label': label} for name, label in samples]
        return [{'img_path': start + name} for name in samples]

    replace_function(module, 'get_samples', get_samples)
    dataset.load_data_list = load_data_list


def _is_local(root: str) -> bool:
    from mmengine.fileio import LocalBackend, get_file_backend

    return type(get_file_backend(root, enable_singleton=True)) is LocalBackend


def images_below(root: str, classes: list[str], endings: Iterable[str]) -> Listing:
    """The images of a local folder, read or, where it is large and has not changed, remembered.

    Args:
        root: of the images.
        classes: sorted names of the class folders; one empty text stands for all of root.
        endings: of what is read as an image, in small letters.
    """
    endings = tuple(endings)
    if kept := folder_index.find(root, classes, endings):
        listing, file = kept
        for stray in listing.strays:
            note_stray(os.path.join(root, stray))
        _say(f'{root}: no folder has changed, {len(listing)} names of images are from {file}')
        return listing
    listing, walk = Listing({}, [], []), folder_index.Walk(root)
    with noting_strays(walk) as passed:
        for name in classes:
            images: list[str] = []
            for file_name in sorted(files_in(os.path.join(root, name))):
                read = file_name.lower().endswith(endings)
                (images if read else listing.others).append(file_name)
            listing.names[name] = images
    listing.strays += sorted(os.path.relpath(stray, root) for stray in passed.strays)
    if written := folder_index.keep(listing, walk, endings):
        _say(f'{root}: {len(listing)} names of images are kept in {written} until a folder changes')
    return listing


def _say(line: str) -> None:
    from mmengine.logging import print_log

    print_log(line, logger='current')
