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
from g2sd_mm.data_checks.coco import CocoSplit, Reading
from g2sd_mm.errors import DataError
from tests.helpers import odd_images as odd

from .case import Case
from .examples import nearly, replaced
from .mutations import mutated

_WIDTH, _HEIGHT = odd.SIZE
_CLASSES = ('disc', 'square')


def content(polygons: bool) -> dict[str, Any]:
    """Two images with polygons, or with plain run lengths and compressed ones."""
    polygon = [5, 5, 30, 5, 30, 25, 5, 25]
    rle = coco_mask.merge(coco_mask.frPyObjects([polygon], _HEIGHT, _WIDTH))
    masks: list[Any] = [[polygon], [polygon, polygon]] if polygons else [
        {'size': [_HEIGHT, _WIDTH], 'counts': [200, 40, _HEIGHT * _WIDTH - 240]},
        {'size': [_HEIGHT, _WIDTH], 'counts': rle['counts'].decode()},
    ]  # fmt: skip
    return {
        'images': [
            {'id': i, 'file_name': f'{i}.jpg', 'width': _WIDTH, 'height': _HEIGHT} for i in (1, 2)
        ],
        'categories': [{'id': i, 'name': name} for i, name in enumerate(_CLASSES, start=1)],
        'annotations': [
            {
                'id': i, 'image_id': 1 + i, 'category_id': 1 + i, 'area': 500.0,
                'bbox': [5, 5, 25, 20], 'segmentation': mask,
                'iscrowd': int(not polygons and i == 0),
            }
            for i, mask in enumerate(masks)
        ],
    }  # fmt: skip


def annotation_cases(values: int, texts: int) -> Iterator[Case]:
    """``values``: documents with other values in some places. ``texts``: damaged files. Of each
    kind of masks."""
    for polygons in (True, False):
        kind = 'polygons' if polygons else 'run lengths'
        whole = content(polygons)
        for what, other in nearly(whole, values):
            text = json.dumps(other).encode()
            yield Case('annotations', f'{kind}, {what}', partial(read, text, polygons))
        for what, damaged in mutated(json.dumps(whole).encode(), texts):
            yield Case('annotations', f'{kind}, the text, {what}', partial(read, damaged, polygons))
    for what, text in {
        'empty': b'',
        'deeply nested': b'[' * 200_000,
        'a number of many digits': b'{"images": ' + b'9' * 10_000 + b'}',
        'another encoding': json.dumps(content(True)).encode('utf-32'),
    }.items():
        yield Case('annotations', what, partial(read, text, True))


    for what, polygon in {
        'a polygon of a billion pixels': [0, 0, 1e9, 0, 1e9, 1e9],
        'a polygon without numbers': [0, 0, 1e300, 0, float('nan'), 1e9],
    }.items():
        text = json.dumps(replaced(content(True), ('annotations', 0, 'segmentation', 0), polygon))
        yield Case('annotations', what, partial(read, text.encode(), True))


def read(text: bytes, polygons: bool, work: Path) -> None:
    """Check a file, and read it for training and for evaluation.

    Raises:
        DataError: of the first that refuses it, when all have had it.
    """
    for number in (1, 2):
        (work / f'{number}.jpg').write_bytes(odd.encoded(number))
    (work / 'train.json').write_bytes(text)
    reading = Reading(_CLASSES)
    readers = [
        lambda: check([CocoSplit(work / 'train.json', work, 'train', reading)], workers=0),
        lambda: _train(work, poly2mask=not polygons, test_mode=False),
        lambda: _train(work, poly2mask=True, test_mode=True),
    ]
    refused = []
    for reader in readers:
        try:
            reader()
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
