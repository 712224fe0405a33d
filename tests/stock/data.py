"""Images for every library: class folders, boxes with masks, label maps."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

SIDE = 64
CLASSES = ('disc', 'square')


def write_data(root: Path, number: int = 4) -> Path:
    """``cls/{train,val}/<class>/*.png``, ``det/{train,val}.json`` and ``seg/{images,masks}``.

    Args:
        root: folder, made.
        number: images of a split; even.
    """
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        images, annotations = [], []
        for part in ('det', f'seg/images/{split}', f'seg/masks/{split}'):
            (root / part).mkdir(parents=True, exist_ok=True)
        for i in range(number):
            label = i % len(CLASSES)
            pixels = rng.integers(0, 120, (SIDE, SIDE, 3), np.uint8)
            mask = np.zeros((SIDE, SIDE), np.uint8)
            if label:
                cv2.rectangle(mask, (16, 16), (48, 48), 1, -1)
            else:
                cv2.circle(mask, (32, 32), 16, 1, -1)
            pixels[mask == 1] += 100
            name = f'{split}_{i}.png'
            folder = root / 'cls' / split / CLASSES[label]
            folder.mkdir(parents=True, exist_ok=True)
            for place in (folder, root / 'det', root / f'seg/images/{split}'):
                cv2.imwrite(str(place / name), pixels)
            cv2.imwrite(str(root / f'seg/masks/{split}/{name}'), mask)
            images.append(dict(id=i, file_name=name, height=SIDE, width=SIDE))
            box = [16, 16, 32, 32]
            polygon = [16, 16, 48, 16, 48, 48, 16, 48]
            annotations.append(
                dict(id=i + 1, image_id=i, category_id=label + 1, bbox=box, area=32 * 32,
                     iscrowd=0, segmentation=[polygon])
            )  # fmt: skip
        categories = [dict(id=n, name=name) for n, name in enumerate(CLASSES, start=1)]
        content = dict(images=images, annotations=annotations, categories=categories)
        (root / 'det' / f'{split}.json').write_text(json.dumps(content))
    return root
