"""Generated data sets in the layout of the configs: photographs of the size that real sets have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from g2sd_mm.datasets.shapes.textures import texture_bank

#: width x height in pixels of a typical image of ImageNet, COCO and ADE20K
_SHAPES = {'generic': (500, 375), 'cls': (500, 375), 'det': (640, 480), 'seg': (683, 512)}
_QUALITY = 90  # of the JPEG files
_OBJECTS = 7


def write_pictures(task: str, root: Path, number: int, seed: int = 0) -> None:
    """Write ``number`` images with what the task's training pipeline reads, below ``root``."""
    rng = np.random.default_rng(seed)
    write = {'generic': _folders, 'cls': _folders, 'det': _coco, 'seg': _ade}[task]
    write(root, [_photograph(rng, *_SHAPES[task]) for _ in range(number)], rng)


def data_root(task: str, root: Path) -> str:
    """What replaces the config's ``data_root``."""
    folders = {'generic': 'imagenet/train', 'cls': 'imagenet/train', 'det': 'coco', 'seg': 'ade'}
    return f'{root / folders[task]}/'


def _photograph(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A random part of a photograph, at least half of it, as BGR [height, width, 3]."""
    bank = texture_bank()
    photograph = bank[rng.integers(len(bank))][0]
    down, right = (int(side * rng.uniform(0.5, 1)) for side in photograph.shape[:2])
    top, left = (
        int(rng.integers(side - part + 1))
        for side, part in zip(photograph.shape[:2], (down, right), strict=True)
    )
    part = photograph[top : top + down, left : left + right, ::-1]
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC)


def _save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])


def _folders(root: Path, images: list[np.ndarray], rng: np.random.Generator) -> None:
    for i, image in enumerate(images):
        _save(root / f'imagenet/train/class_{i % 2}/{i}.JPEG', image)


def _coco(root: Path, images: list[np.ndarray], rng: np.random.Generator) -> None:
    from mmdet.datasets import CocoDataset

    names = CocoDataset.METAINFO['classes']
    width, height = _SHAPES['det']
    annotations: list[dict[str, Any]] = []
    for i, image in enumerate(images):
        _save(root / f'coco/train2017/{i}.jpg', image)
        for _ in range(_OBJECTS):
            w, h = rng.uniform(0.1, 0.5, 2) * (width, height)
            x, y = rng.uniform(0, 1, 2) * (width - w, height - h)
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=i,
                    category_id=int(rng.integers(len(names))),
                    bbox=[x, y, w, h],
                    area=w * h,
                    iscrowd=0,
                    segmentation=[[x + w / 2, y, x + w, y + h / 2, x + w / 2, y + h, x, y + h / 2]],
                )
            )
    content = dict(
        images=[
            dict(id=i, file_name=f'{i}.jpg', width=width, height=height)
            for i in range(len(images))
        ],
        annotations=annotations,
        categories=[dict(id=i, name=name) for i, name in enumerate(names)],
    )
    file = root / 'coco/annotations/instances_train2017.json'
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def _ade(root: Path, images: list[np.ndarray], rng: np.random.Generator) -> None:
    for i, image in enumerate(images):
        _save(root / f'ade/images/training/{i}.jpg', image)
        height, width = image.shape[:2]
        blocks = rng.integers(0, 151, (8, 8), dtype=np.uint8)
        labels = cv2.resize(blocks, (width, height), interpolation=cv2.INTER_NEAREST)
        path = root / f'ade/annotations/training/{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), labels)
