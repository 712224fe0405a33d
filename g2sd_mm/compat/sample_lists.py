"""Lists of samples are made quickly, however long they are, and class folders go by their names.

mmpretrain joins every path twice and asks two functions of every name, and mmengine makes an array
of each sample: of 1.28 million images most of the start is spent there. The lists are the same.
mmpretrain also numbers class folders as they sort, and calls the numbers by the names in
``metainfo`` without looking at the folders.
"""

from __future__ import annotations

import functools
import logging
import pickle
from types import ModuleType
from typing import TYPE_CHECKING, Any

from g2sd_mm.compat.data_folders import noting_strays, say_passed_over
from g2sd_mm.errors import DataError
from g2sd_mm.image_files import ENDINGS, endings_of, is_image
from g2sd_mm.text import some

if TYPE_CHECKING:
    import numpy as np

#: What mmpretrain reads if it is asked for nothing else.
_STOCK = frozenset(('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif'))


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


def read_class_folders(module: ModuleType) -> None:
    """Of ``mmpretrain.datasets.custom``."""
    dataset = module.CustomDataset
    make, load = dataset.__init__, dataset.load_data_list

    @functools.wraps(make)
    def __init__(self: Any, *args: Any, **options: Any) -> None:
        if frozenset(options.get('extensions', _STOCK)) == _STOCK:
            options['extensions'] = ENDINGS
        make(self, *args, **options)

    @functools.wraps(load)
    def load_data_list(self: Any) -> list[dict]:
        return load(self) if self.ann_file else _images_in_folders(self)

    dataset.__init__ = __init__
    dataset.load_data_list = load_data_list


def _images_in_folders(dataset: Any) -> list[dict]:
    """Samples of all class folders, or of all folders without labels; the log says of the rest.

    Raises:
        DataError: if there are none, or classes of other names than those that were asked for.
    """
    from mmengine.fileio import get_file_backend
    from mmengine.logging import print_log

    root, is_read = dataset.img_prefix, dataset.is_valid_file
    backend = get_file_backend(root, enable_singleton=True)
    samples: list[dict] = []
    others: list[str] = []
    empty, loose = [], []
    with noting_strays() as strays:
        folders = ['']
        if dataset.with_label:
            folders = sorted(backend.list_dir_or_file(root, list_file=False))
            loose = [n for n in backend.list_dir_or_file(root, list_dir=False) if is_image(n)]
        number = _numbers(dataset, folders) if dataset.with_label else {}
        for name in folders:
            folder = backend.join_path(root, name) if name else root
            start = backend.join_path(folder, '')
            found: list[str] = []
            for file in sorted(backend.list_dir_or_file(folder, list_dir=False, recursive=True)):
                (found if is_read(file) else others).append(file)
            label = {'gt_label': number[name]} if dataset.with_label else {}
            samples += [{'img_path': start + file, **label} for file in found]
            empty += [] if found else [name]
    if not samples:
        raise DataError(_nothing_found(dataset, others, len(loose)))
    if empty:
        print_log(
            f'{root}: no image that is read in the class folders {some(empty)}', logger='current',
            level=logging.WARNING,
        )  # fmt: skip
    say_passed_over(root, strays, loose, files=others)
    return samples


def _numbers(dataset: Any, folders: list[str]) -> dict[str, int]:
    """The label of each class folder; names without a given order get that of the folders.

    Raises:
        DataError: for a folder that is called like none of the classes that were asked for, and if
            there are more or fewer than a data set has that knows its own.
    """
    root, number = dataset.img_prefix, {name: i for i, name in enumerate(folders)}
    wanted = dataset._metainfo.get('classes')
    # a class of data sets that knows its names has other ones than its folders: ImageNet's words
    if wanted and type(dataset).METAINFO.get('classes'):
        if len(wanted) != len(folders):
            raise DataError(f'{root} has {len(folders)} class folders, of {len(wanted)} classes')
    elif not wanted:
        dataset._metainfo['classes'] = tuple(folders)
    elif not dataset._metainfo.get('by_position'):
        if strange := [name for name in folders if name not in wanted]:
            raise DataError(
                f'{root} has class folders {some(strange)}, which are not among the '
                f'{len(wanted)} classes ({some(wanted, 8)}): give them the same names, or, if the '
                'numbers of the sorted folders are right, metainfo=dict(..., by_position=True)'
            )
        number = {name: wanted.index(name) for name in folders}
    dataset.folder_to_idx = number
    return number


def _nothing_found(dataset: Any, files: list[str], loose: int) -> str:
    root, endings = dataset.img_prefix, ' '.join(sorted(dataset.extensions))
    if loose:
        return (
            f'{root} has {loose} images and no class folders with images: move the images of each '
            'class into a folder of its own'
        )
    where, there = 'in its class folders' if dataset.with_label else 'below it', endings_of(files)
    return f'{root} has no images {where} ({there or "no files"}); endings that are read: {endings}'
