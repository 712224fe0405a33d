"""Images with a class each, or with a mask each, of a folder or a config."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..agreement.data import agree_on_classes
from ..agreement.weights import say
from ..config.load import load_config
from ..config.parts import innermost_dataset
from ..data_layouts import Choices
from ..errors import DataError, UserError
from ..students.images import read_image
from .measures import IGNORED

_WORKERS = 4
_SPLITS = ('train', 'val')
#: Task -> a config of the suites, which read folders of one's own.
_READ_BY = {'cls': 'configs/mini/vitb_cls.py', 'seg': 'configs/mini/vitb_upernet.py'}


@dataclass(frozen=True)
class Part:
    """One split: ``files`` with a number of their class in ``labels``, or a mask file in ``masks``.

    renumbered: a label of a mask -> its class, where they differ.
    """

    files: tuple[str, ...]
    labels: tuple[int, ...] = ()
    masks: tuple[str, ...] = ()
    renumbered: tuple[tuple[int, int], ...] = ()

    def first(self, number: int | None) -> Part:
        """The first ``number`` images of each class; of images with masks, of all."""
        if number is None:
            return self
        if self.masks:
            return Part(self.files[:number], (), self.masks[:number], self.renumbered)
        seen: dict[int, int] = {}
        kept = []
        for i, label in enumerate(self.labels):
            seen[label] = seen.get(label, 0) + 1
            if seen[label] <= number:
                kept.append(i)
        return Part(tuple(self.files[i] for i in kept), tuple(self.labels[i] for i in kept))

    def digest(self) -> str:
        """Of names, sizes and times of the files, and their labels; not of what is in them."""
        told = hashlib.sha256()
        for file in (*self.files, *self.masks):
            status = Path(file).stat()
            told.update(f'{file}\0{status.st_size}\0{status.st_mtime_ns}\n'.encode())
        told.update(repr((self.labels, self.renumbered)).encode())
        return told.hexdigest()


@dataclass(frozen=True)
class Data:
    """Training and validation images; ``classes`` names by number."""

    train: Part
    val: Part
    classes: tuple[str, ...]

    @property
    def dense(self) -> bool:
        """Whether the labels are masks."""
        return bool(self.train.masks)


def find_images(data: str, options: dict[str, Any] | None = None) -> Data:
    """The images of a folder, or of a config's training and validation data.

    Args:
        data: a folder laid out as for classification or segmentation, or a config.
        options: of the config.

    Raises:
        UserError: for detection data, no validation images, classes that training has not, or
            options without a config.
    """
    from ..runs.own_data import find_source

    if data.endswith('.py') or not Path(data).is_dir():
        return _of_config(data, options)
    if options:
        raise UserError(f'{", ".join(options)}: options change a config, and {data} is a folder')
    source = find_source(Path(data).absolute(), Choices(read_as={'test': 'val'}))
    if source.task not in _READ_BY:
        raise DataError(f'{data} is of {source.task}: features are probed on classes or masks')
    say(source.notes)
    return _of_config(_READ_BY[source.task], source.options)


def _of_config(config: str, options: dict[str, Any] | None) -> Data:
    from mmengine.registry import DATASETS, DefaultScope

    from ..runs.data import prepare_data

    cfg = load_config(config, options)
    loaders = tuple(f'{split}_dataloader' for split in _SPLITS)
    prepare_data(cfg, loaders)
    say(agree_on_classes(cfg, loaders).notes)  # as a run does: a split may lack a class
    parts: list[Part] = []
    classes: tuple[str, ...] = ()
    for split in _SPLITS:
        loader = cfg.get(f'{split}_dataloader')
        if not loader:
            raise UserError(f'{config} has no {split}_dataloader: features are judged by both')
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
            made: Any = DATASETS.build(innermost_dataset(loader.dataset))
        entries = [made.get_data_info(i) for i in range(len(made))]
        classes = classes or tuple(made.metainfo.get('classes') or ())
        parts.append(_part(entries, config))
    if not classes:
        raise UserError(f'{config}: its classes have no names, so nothing says how many there are')
    return Data(parts[0], parts[1], classes)


def _part(entries: Sequence[dict[str, Any]], config: str) -> Part:
    files = tuple(str(entry['img_path']) for entry in entries)
    if entries and all('gt_label' in entry for entry in entries):
        return Part(files, tuple(int(entry['gt_label']) for entry in entries))
    if entries and all(entry.get('seg_map_path') for entry in entries):
        mapping = dict(entries[0].get('label_map') or {})
        if entries[0].get('reduce_zero_label'):
            mapping = {0: IGNORED, **{i: mapping.get(i - 1, i - 1) for i in range(1, IGNORED)}}
        masks = tuple(str(entry['seg_map_path']) for entry in entries)
        return Part(files, (), masks, tuple(sorted(mapping.items())))
    raise UserError(f'{config} has images without a class or mask: features are judged by labels')


def batches(part: Part, size: int, share: float, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Images uint8 [B, 3, size, size] in RGB, and labels: int64 [B], or uint8 [B, size, size].

    Args:
        part: the images, in their order.
        size: side in pixels.
        share: of the shorter side that the middle square has, which is resized (bicubic).
        batch: images at once.
    """

    def read(i: int) -> tuple[Tensor, Tensor]:
        image = Image.fromarray(read_image(part.files[i]))
        pixels = np.asarray(_square(image, size, share, Image.Resampling.BICUBIC))
        tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
        if not part.masks:
            return tensor, torch.tensor(part.labels[i])
        numbers = _labels_in(part.masks[i])
        if part.renumbered:
            table = np.arange(256, dtype=np.uint8)
            for old, new in part.renumbered:
                table[old] = new if 0 <= new < 256 else IGNORED
            numbers = table[numbers]
        mask = _square(Image.fromarray(numbers), size, share, Image.Resampling.NEAREST)
        if mask.size != (size, size) or numbers.shape != (image.height, image.width):
            raise DataError(f'{part.masks[i]} is not of the size of its image')
        return tensor, torch.from_numpy(np.asarray(mask).copy())

    with ThreadPoolExecutor(_WORKERS) as pool:
        for start in range(0, len(part.files), batch):
            found = list(pool.map(read, range(start, min(start + batch, len(part.files)))))
            yield torch.stack([image for image, _ in found]), torch.stack([y for _, y in found])


def _square(image: Image.Image, size: int, share: float, how: Image.Resampling) -> Image.Image:
    side = max(1, round(share * min(image.size)))
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.resize((size, size), how, box=(left, top, left + side, top + side))


def _labels_in(file: str) -> np.ndarray:
    with Image.open(file) as image:
        numbers = np.asarray(image)
    if numbers.ndim != 2 or numbers.dtype != np.uint8:
        raise DataError(f'{file} is no mask of class numbers: expected 8 bits, one channel')
    return numbers
