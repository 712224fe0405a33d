"""Small data sets whose classes can be told apart, and weights that say what theirs are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from PIL import Image

from g2sd_mm.checkpoints.record import write_sidecar

from ..helpers.toys import config, save

#: Colours by name: a picture says itself what it shows.
COLOURS = dict(blue=(20, 20, 220), green=(20, 220, 20), red=(220, 20, 20))


def folders(root: Path, names: Sequence[str] = tuple(COLOURS), each: int = 2) -> Path:
    """``root/<name>/<name>_<i>.png``."""
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(each):
            pixels = np.full((64, 64, 3), COLOURS.get(name, (9, 9, 9)), np.uint8)
            Image.fromarray(pixels).save(root / name / f'{name}_{i}.png')
    return root


def classification(train: Path | None, val: Path, **options: Any) -> Config:
    """The demo's plain fine-tuning on folders of one's own."""
    return config(
        'shapes/vits_scratch_cls.py',
        shapes=None,
        **{
            'num_classes': 3,
            'train_dataloader.dataset.dataset.data_root': str(train),
            'val_dataloader.dataset.data_root': str(val),
            'test_dataloader.dataset.data_root': str(val),
            **options,
        },
    )


def coco(path: Path, categories: Sequence[tuple[int, str]]) -> Path:
    """One image with one box of every category, in the order given; boxes tell names apart."""
    content = {
        'images': [dict(id=1, file_name='1.png', width=64, height=64)],
        'annotations': [
            dict(
                id=number, image_id=1, category_id=number, iscrowd=0, area=100.0 + len(name),
                bbox=[len(name), 0, 10, 10], segmentation=[[0, 0, 10, 0, 10, 10, 0, 10]],
            )
            for number, name in categories
        ],
        'categories': [dict(id=number, name=name) for number, name in categories],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def weights(
    path: Path, classes: Sequence[str], model: Any = None, inputs: dict | None = None
) -> str:
    """A file of our own, and the JSON beside it."""
    network = dict(
        task='classification', scope='mmpretrain', imports=[], model={}, test_pipeline=[],
        classes=list(classes),
    )
    save(path, model or {})
    write_sidecar(path, {'network': network, 'inputs': inputs or {}, 'origin': {}}, 0)
    return str(path)
