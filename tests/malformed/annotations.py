"""COCO annotations: by the data checker, and by training with masks of both kinds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS
from pycocotools import mask as coco_mask

from g2sd_mm.data_checks import check
from g2sd_mm.data_checks.coco import CocoSplit
from g2sd_mm.errors import DataError

from .. import odd_images as odd
from .case import Case
from .examples import nearly
from .mutations import mutated

_WIDTH, _HEIGHT = odd.SIZE
_CLASSES = ('disc', 'square')


def _content() -> dict[str, Any]:
    """Two images with a polygon, plain run lengths and compressed ones."""
    polygon = [5, 5, 30, 5, 30, 25, 5, 25]
    rle = coco_mask.merge(coco_mask.frPyObjects([polygon], _HEIGHT, _WIDTH))
    masks: list[Any] = [
        [polygon],
        {'size': [_HEIGHT, _WIDTH], 'counts': [200, 40, _HEIGHT * _WIDTH - 240]},
        {'size': [_HEIGHT, _WIDTH], 'counts': rle['counts'].decode()},
    ]
    return {
        'images': [
            {'id': i, 'file_name': f'{i}.jpg', 'width': _WIDTH, 'height': _HEIGHT} for i in (1, 2)
        ],
        'categories': [{'id': i, 'name': name} for i, name in enumerate(_CLASSES, start=1)],
        'annotations': [
            {
                'id': i, 'image_id': 1 + i % 2, 'category_id': 1 + i % 2, 'area': 500.0,
                'bbox': [5, 5, 25, 20], 'iscrowd': int(i == 1), 'segmentation': mask,
            }
            for i, mask in enumerate(masks)
        ],
    }  # fmt: skip


def annotation_cases(values: int, texts: int) -> Iterator[Case]:
    """``values``: documents with other values in some places. ``texts``: damaged files."""
    for what, content in nearly(_content(), values):
        yield Case('annotations', what, partial(_read, json.dumps(content).encode()))
    for what, damaged in mutated(json.dumps(_content()).encode(), texts):
        yield Case('annotations', f'the text, {what}', partial(_read, damaged))
    for what, text in {
        'empty': b'',
        'deeply nested': b'[' * 200_000,
        'a number of many digits': b'{"images": ' + b'9' * 10_000 + b'}',
        'another encoding': json.dumps(_content()).encode('utf-16'),
    }.items():
        yield Case('annotations', what, partial(_read, text))


def _read(content: bytes, work: Path) -> None:
    for number in (1, 2):
        (work / f'{number}.jpg').write_bytes(odd.encoded(number))
    (work / 'train.json').write_bytes(content)
    refused = []
    try:
        check([CocoSplit(work / 'train.json', work, 'train', _CLASSES)], workers=0)
    except DataError as error:
        refused.append(error)
    for poly2mask in (True, False):
        for test_mode in (False, True):
            try:
                _train(work, poly2mask, test_mode)
            except DataError as error:
                refused.append(error)
    if refused:
        raise refused[0]


def _train(work: Path, poly2mask: bool, test_mode: bool) -> None:
    dataset = DATASETS.build(
        dict(
            type='SeededDataset',
            dataset=dict(
                _scope_='mmdet',
                type='CheckedCocoDataset',
                data_root=str(work),
                ann_file='train.json',
                data_prefix=dict(img=''),
                metainfo=dict(classes=_CLASSES),
                test_mode=test_mode,
                pipeline=[
                    dict(type='LoadImageFromFile'),
                    dict(
                        type='LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=poly2mask
                    ),
                    dict(type='Resize', scale=(32, 32), keep_ratio=True),
                    dict(type='PackDetInputs'),
                ],
            ),
        )
    )
    for index in range(len(dataset)):
        dataset[index]
