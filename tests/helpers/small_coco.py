"""A small, clean COCO-format set: two squares in each image, one of each class."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

CLASSES = ('apple', 'berry')
SIDE = 64


def write_split(
    root: Path,
    split: str,
    number: int = 4,
    edit: Callable[[dict[str, Any]], Any] | None = None,
    seed: int = 0,
) -> Path:
    """``root/<split>/*.png`` and ``root/annotations/instances_<split>.json``; gives the latter.

    Args:
        root: of the data.
        split: its name.
        number: of images.
        edit: changes the content before it is written.
        seed: of the pixels.
    """
    (root / split).mkdir(parents=True)
    (root / 'annotations').mkdir(exist_ok=True)
    generator = np.random.default_rng(seed)
    images, annotations = [], []
    for i in range(number):
        pixels = generator.integers(90, 140, (SIDE, SIDE, 3)).astype(np.uint8)
        for label, x in enumerate((4, 36)):
            y = 4 + 5 * i
            pixels[y : y + 20, x : x + 20] = (40, 40, 220) if label else (220, 60, 40)
            annotations.append(
                dict(
                    id=len(annotations) + 1, image_id=i + 1, category_id=label + 1,
                    bbox=[x, y, 20, 20], area=400, iscrowd=0,
                    segmentation=[[x, y, x + 20, y, x + 20, y + 20, x, y + 20]],
                )
            )  # fmt: skip
        cv2.imwrite(str(root / split / f'{i}.png'), pixels)
        images.append(dict(id=i + 1, file_name=f'{i}.png', height=SIDE, width=SIDE))
    categories = [dict(id=i, name=name) for i, name in enumerate(CLASSES, start=1)]
    content = dict(images=images, annotations=annotations, categories=categories)
    if edit:
        edit(content)
    file = root / 'annotations' / f'instances_{split}.json'
    file.write_text(json.dumps(content))
    return file


def without(*keys: str) -> Callable[[dict[str, Any]], None]:
    """An edit that takes keys out of every annotation."""

    def edit(content: dict[str, Any]) -> None:
        for annotation in content['annotations']:
            for key in keys:
                annotation.pop(key, None)

    return edit


def with_values(**values: Any) -> Callable[[dict[str, Any]], None]:
    """An edit that gives every annotation these values."""

    def edit(content: dict[str, Any]) -> None:
        for annotation in content['annotations']:
            annotation.update(values)

    return edit


def with_root_category(content: dict[str, Any]) -> None:
    """An edit: a root that is called like the first class, as exports of Roboflow have it."""
    for category in content['categories']:
        category['supercategory'] = CLASSES[0]
    content['categories'].insert(0, dict(id=0, name=CLASSES[0], supercategory='none'))
