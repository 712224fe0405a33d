"""Writing a generated set: images, lists, COCO files, masks, depth maps, and fingerprints."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .depth import as_millimetres
from .outlines import CLASSES
from .scene import SPLITS, Scene, render_scene

#: Task -> what its folder is called, and holds.
KINDS = {'cls': 'cls', 'det': 'scenes', 'seg': 'scenes', 'depth': 'depth'}

#: Kind of set -> folder with a file for every image.
BESIDE = {'scenes': 'masks', 'depth': 'depth'}

_TASK = {'cls': 'cls', 'scenes': 'det', 'depth': 'depth'}
_FAST_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]


def annotation_name(kind: str, split: str) -> str:
    """Relative path of the annotation file of a split."""
    return f'annotations/instances_{split}.json' if kind == 'scenes' else f'annotations/{split}.txt'


def take_in(fingerprint: hashlib._Hash, name: str, data: bytes) -> None:
    """Take a file in; its length keeps neighbouring files from being mistaken."""
    fingerprint.update(f'{name}\0{len(data)}\0'.encode())
    fingerprint.update(data)


def _save(folder: Path, name: str, data: bytes, fingerprint: hashlib._Hash) -> None:
    (folder / name).write_bytes(data)
    take_in(fingerprint, name, data)


def _png(image: np.ndarray) -> bytes:
    """Encode uint8 RGB (H, W, 3), or grey uint8 or uint16 (H, W)."""
    if image.ndim == 3:
        image = image[..., ::-1]
    return cv2.imencode('.png', image, _FAST_PNG)[1].tobytes()


def coco_annotations(scene: Scene, image_id: int, first_id: int) -> list[dict[str, Any]]:
    """COCO records of a scene's annotated instances, back to front; their ids follow the first.

    Box, area and run lengths are of the visible pixels.
    """
    from pycocotools import mask as coco_mask  # only scenes need it

    records: list[dict[str, Any]] = []
    for instance in scene.instances:
        if not instance.annotated:
            continue
        rle = coco_mask.encode(np.asfortranarray(instance.mask, np.uint8))
        records.append({
            'id': first_id + len(records),
            'image_id': image_id,
            'category_id': instance.label + 1,
            'bbox': list(map(int, coco_mask.toBbox(rle))),
            'area': int(coco_mask.area(rle)),
            'iscrowd': 0,
            'segmentation': {'size': list(rle['size']), 'counts': rle['counts'].decode('ascii')},
        })
    return records


def _write_split(folder: Path, kind: str, split: str, count: int, size: int, seed: int,
                 images: hashlib._Hash) -> bytes:
    """Write the images of a split, and what lies beside them; return its annotation file."""
    classes = [f'{split}/{name}' for name in CLASSES] if kind == 'cls' else [split]
    for place in (*classes, *([f'{BESIDE[kind]}/{split}'] if kind in BESIDE else [])):
        (folder / place).mkdir(parents=True)
    lines, entries = [], []
    records: list[dict[str, Any]] = []
    for index in range(count):
        scene = render_scene(_TASK[kind], split, index, size=size, seed=seed)
        file = f'{index + 1:06d}.png'  # from 1, as COCO ids
        name = f'{CLASSES[scene.label]}/{file}' if kind == 'cls' else file
        _save(folder, f'{split}/{name}', _png(scene.image), images)
        lines.append(f'{name} {scene.label}\n' if kind == 'cls' else f'{name}\n')
        if kind == 'scenes':
            _save(folder, f'masks/{split}/{file}', _png(scene.semantic()), images)
            entries.append({'id': index + 1, 'file_name': name, 'width': size, 'height': size})
            records += coco_annotations(scene, index + 1, len(records) + 1)
        elif scene.depth is not None:
            _save(folder, f'depth/{split}/{file}', _png(as_millimetres(scene.depth)), images)
    if kind != 'scenes':
        return ''.join(sorted(lines)).encode()
    categories = [{'id': i + 1, 'name': name, 'supercategory': 'shape'}
                  for i, name in enumerate(CLASSES)]
    data = {'info': {'description': f'Shapes, {split}'}, 'licenses': [], 'images': entries,
            'annotations': records, 'categories': categories}
    return json.dumps(data, separators=(',', ':')).encode()


def write_set(folder: Path, kind: str, counts: dict[str, int], size: int,
              seed: int) -> dict[str, str]:
    """Generate every file of a set except ``meta.json`` into an empty folder.

    Returns:
        ``annotations_sha256`` and ``images_sha256`` (images, semantic masks, depth maps).
    """
    images, annotations = hashlib.sha256(), hashlib.sha256()
    (folder / 'annotations').mkdir()
    for split in SPLITS:
        data = _write_split(folder, kind, split, counts[split], size, seed, images)
        _save(folder, annotation_name(kind, split), data, annotations)
    return {'annotations_sha256': annotations.hexdigest(), 'images_sha256': images.hexdigest()}
