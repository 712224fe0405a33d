"""Images and masks: decoded for training, for prediction, and by the data checker."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from mmengine.registry import DATASETS
from PIL import Image

from g2sd_mm.data_checks.images import look_at_image
from g2sd_mm.data_checks.masks import Labels
from g2sd_mm.errors import DataError
from g2sd_mm.students.images import read_image
from tests.helpers import odd_images as odd

from .case import Case
from .mutations import mutated

_CLASSES = 4
_FORMATS = {
    'a.jpg': odd.encoded(),
    'progressive.jpg': odd.encoded(progressive=True),
    'cmyk.jpg': odd.encoded(mode='CMYK'),
    'turned.jpg': odd.rotated(),
    'a.png': odd.encoded(kind='PNG'),
    'a.bmp': odd.encoded(kind='BMP'),
    'a.tif': odd.encoded(kind='TIFF', compression='tiff_lzw'),
    'a.ppm': odd.encoded(kind='PPM'),
}


def image_cases(each: int) -> Iterator[Case]:
    """``each`` damaged copies of every format, and files that are no image at all."""
    for seed, (name, content) in enumerate(_FORMATS.items()):
        for what, damaged in mutated(content, each, seed):
            yield Case('image', f'{name}, {what}', partial(_read_image, name, damaged))
    for what, content in {
        'empty': b'',
        'text': b'not an image',
        '60000 x 60000 px': odd.huge_png(),
        'the largest PNG there is': odd.huge_png(2**31 - 1),
        'a JPEG of 65500 x 65500 px': odd.huge_jpeg(),
    }.items():
        yield Case('image', what, partial(_read_image, 'a.png', content))
    for what, make in _NO_FILES.items():
        yield Case('image', what, partial(_read_what_is_no_file, make))


_NO_FILES: dict[str, Callable[[Path], None]] = {
    'a folder': Path.mkdir,
    'a pipe': os.mkfifo,
    'a link to itself': lambda path: path.symlink_to(path),
    'a link to a file without end': lambda path: path.symlink_to('/dev/zero'),
}


def _read_image(name: str, content: bytes, work: Path) -> None:
    _train_on_images(work, lambda folder: (folder / name).write_bytes(content))
    look_at_image(str(work / 'train' / 'b' / name))
    read_image(work / 'train' / 'b' / name)


def _read_what_is_no_file(make: Callable[[Path], None], work: Path) -> None:
    _train_on_images(work, lambda folder: make(folder / 'a.jpg'))
    look_at_image(str(work / 'train' / 'b' / 'a.jpg'))
    read_image(work / 'train' / 'b' / 'a.jpg')


def _train_on_images(work: Path, add: Callable[[Path], object]) -> None:
    """Read a set of good images and one bad one as training does: it has to go on."""
    for folder in ('a', 'b'):
        (work / 'train' / folder).mkdir(parents=True)
        (work / 'train' / folder / 'good.jpg').write_bytes(odd.encoded(ord(folder)))
    add(work / 'train' / 'b')
    for steps in (
        [dict(type='LoadImageFromFile'), dict(type='RandomResizedCrop', scale=24)],
        [dict(type='LoadRandomResizedCrop', scale=24)],
    ):
        _read_all(work / 'train', [*steps, dict(type='PackInputs')])


def _read_all(folder: Path, pipeline: list[dict]) -> None:
    dataset = DATASETS.build(
        dict(
            type='SeededDataset',
            dataset=dict(
                _scope_='mmpretrain',
                type='CustomDataset',
                data_root=str(folder),
                pipeline=pipeline,
            ),
        )
    )
    for index in range(len(dataset)):
        assert dataset[index]['inputs'].shape == (3, 24, 24)


# Masks --------------------------------------------------------------------------------------------


def _mask(mode: str) -> bytes:
    numbers = np.resize(np.arange(_CLASSES, dtype=np.uint8), odd.SIZE[::-1])
    file = BytesIO()
    Image.fromarray(numbers).convert(mode).save(file, 'PNG')
    return file.getvalue()


def mask_cases(each: int) -> Iterator[Case]:
    """``each`` damaged copies of a mask of numbers, of a palette, of 16 bits, of colours."""
    for seed, mode in enumerate(('L', 'P', '1', 'I;16', 'RGBA')):
        for what, damaged in mutated(_mask(mode), each, seed):
            yield Case('mask', f'mode {mode}, {what}', partial(_read_mask, damaged))
    for what, content in {'empty': b'', 'huge': odd.huge_png(), 'a JPEG': odd.encoded()}.items():
        yield Case('mask', what, partial(_read_mask, content))


def _read_mask(content: bytes, work: Path) -> None:
    for folder in ('images', 'masks'):
        (work / folder).mkdir()
    for name in ('good', 'bad'):
        (work / 'images' / f'{name}.jpg').write_bytes(odd.encoded())
    (work / 'masks' / 'good.png').write_bytes(_mask('L'))
    (work / 'masks' / 'bad.png').write_bytes(content)
    inner = dict(
        _scope_='mmseg',
        type='BaseSegDataset',
        data_root=str(work),
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        metainfo=dict(classes=tuple('abcd')),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='CheckMasks', num_classes=_CLASSES),
            dict(type='RandomCrop', crop_size=(16, 16)),
            dict(type='PackSegInputs'),
        ],
    )
    training = DATASETS.build(dict(type='SeededDataset', dataset=inner))
    for index in range(len(training)):
        labels = training[index]['data_samples'].gt_sem_seg.data
        assert all(label < _CLASSES or label == 255 for label in labels.unique())
    Labels(_CLASSES).look(str(work / 'masks' / 'bad.png'))
    validation = DATASETS.build({**inner, 'test_mode': True})
    refused = 0
    for index in range(len(validation)):
        try:
            validation[index]
        except DataError:
            refused += 1
    if refused:
        raise DataError('a mask was refused')
