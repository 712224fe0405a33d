"""Writing a generated set: images, lists, COCO files, masks, depth maps, and fingerprints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .depth import as_millimetres
from .outlines import CLASSES
from .scene import SPLITS, Scene, render_scene

#: Task -> what its folder is called, and holds.
KINDS = {'cls': 'cls', 'det': 'scenes', 'seg': 'scenes', 'depth': 'depth'}

_BESIDE = {'scenes': ('masks',), 'depth': ('depth',)}
_LISTS = {'cls': 'annotations/{}.txt', 'depth': 'annotations/{}.txt'}
_FAST_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]


class Fingerprint:
    """SHA-256 over names and contents of files, in the order in which they are written."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, name: str, data: bytes) -> None:
        """Take one file in; the length keeps neighbouring files from being mistaken."""
        self._hash.update(f'{name}\0{len(data)}\0'.encode())
        self._hash.update(data)

    def hexdigest(self) -> str:
        """64 hexadecimal digits."""
        return self._hash.hexdigest()


def annotation_names(kind: str) -> tuple[str, ...]:
    """Relative paths of the annotation files of a set, in fingerprint order."""
    pattern = _LISTS.get(kind, 'annotations/instances_{}.json')
    return tuple(pattern.format(split) for split in SPLITS)


def beside_images(kind: str) -> tuple[str, ...]:
    """Folders of a set that hold a file for every image."""
    return _BESIDE.get(kind, ())


def image_name(task: str, split: str, index: int) -> str:
    """Relative path of an image; numbers in names start at 1, as COCO ids do."""
    if task == 'cls':
        return f'{split}/{CLASSES[index % len(CLASSES)]}/{index + 1:06d}.png'
    return f'{split}/{index + 1:06d}.png'


def mask_name(split: str, index: int) -> str:
    """Relative path of the semantic mask of a scene."""
    return f'masks/{split}/{index + 1:06d}.png'


def depth_name(split: str, index: int) -> str:
    """Relative path of the depth map of a scene."""
    return f'depth/{split}/{index + 1:06d}.png'


def _save(folder: Path, name: str, data: bytes, fingerprint: Fingerprint) -> None:
    (folder / name).write_bytes(data)
    fingerprint.add(name, data)


def _png(image: np.ndarray) -> bytes:
    """Encode uint8 RGB (H, W, 3), or grey uint8 or uint16 (H, W)."""
    if image.ndim == 3:
        image = image[..., ::-1]
    return cv2.imencode('.png', image, _FAST_PNG)[1].tobytes()


def coco_annotations(scene: Scene, image_id: int, first_id: int) -> list[dict[str, Any]]:
    """COCO records of a scene's annotated instances, back to front.

    Args:
        scene: The scene.
        image_id: Id of its image.
        first_id: Id of the first record; the others follow.

    Returns:
        Dicts with ``segmentation`` (compressed RLE of the visible pixels), ``area`` (their number),
        ``bbox`` (x, y, width, height of the visible pixels), ``category_id`` (1 .. 10) and
        ``iscrowd`` 0.
    """
    from pycocotools import mask as coco_mask  # only scenes need it

    records: list[dict[str, Any]] = []
    for instance in scene.instances:
        if not instance.annotated:
            continue
        rle = coco_mask.encode(np.asfortranarray(instance.mask, np.uint8))
        rows = np.flatnonzero(instance.mask.any(1))
        columns = np.flatnonzero(instance.mask.any(0))
        left, top = int(columns[0]), int(rows[0])
        records.append({
            'id': first_id + len(records),
            'image_id': image_id,
            'category_id': instance.label + 1,
            'bbox': [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
            'area': int(instance.mask.sum()),
            'iscrowd': 0,
            'segmentation': {'size': list(rle['size']), 'counts': rle['counts'].decode('ascii')},
        })
    return records


def _scenes(task: str, split: str, count: int, size: int, seed: int) -> Iterator[tuple[int, Scene]]:
    for index in range(count):
        yield index, render_scene(task, split, index, size=size, seed=seed)


def _write_labelled(folder: Path, split: str, count: int, size: int, seed: int,
                    images: Fingerprint) -> bytes:
    """Write the images of a classification split; return its list file."""
    for name in CLASSES:
        (folder / split / name).mkdir(parents=True)
    lines = []
    for index, scene in _scenes('cls', split, count, size, seed):
        name = image_name('cls', split, index)
        _save(folder, name, _png(scene.image), images)
        lines.append(f'{name.removeprefix(split + "/")} {scene.label}\n')
    return ''.join(sorted(lines)).encode()


def _write_scenes(folder: Path, split: str, count: int, size: int, seed: int,
                  images: Fingerprint) -> bytes:
    """Write images and semantic masks of a split of scenes; return its COCO file."""
    (folder / split).mkdir(parents=True)
    (folder / 'masks' / split).mkdir(parents=True)
    records: list[dict[str, Any]] = []
    entries = []
    for index, scene in _scenes('det', split, count, size, seed):
        name = image_name('det', split, index)
        _save(folder, name, _png(scene.image), images)
        _save(folder, mask_name(split, index), _png(scene.semantic()), images)
        entries.append({'id': index + 1, 'file_name': name.removeprefix(split + '/'),
                        'width': size, 'height': size})
        records += coco_annotations(scene, index + 1, len(records) + 1)
    categories = [{'id': i + 1, 'name': name, 'supercategory': 'shape'}
                  for i, name in enumerate(CLASSES)]
    data = {'info': {'description': f'Shapes, {split}'}, 'licenses': [], 'images': entries,
            'annotations': records, 'categories': categories}
    return json.dumps(data, separators=(',', ':')).encode()


def _write_depth(folder: Path, split: str, count: int, size: int, seed: int,
                 images: Fingerprint) -> bytes:
    """Write images and depth maps of a split of scenes; return the list of images."""
    (folder / split).mkdir(parents=True)
    (folder / 'depth' / split).mkdir(parents=True)
    lines = []
    for index, scene in _scenes('depth', split, count, size, seed):
        assert scene.depth is not None
        name = image_name('depth', split, index)
        _save(folder, name, _png(scene.image), images)
        _save(folder, depth_name(split, index), _png(as_millimetres(scene.depth)), images)
        lines.append(f'{name.removeprefix(split + "/")}\n')
    return ''.join(lines).encode()


_WRITERS = {'cls': _write_labelled, 'scenes': _write_scenes, 'depth': _write_depth}


def write_set(folder: Path, kind: str, counts: dict[str, int], size: int,
              seed: int) -> dict[str, str]:
    """Generate every file of a set except ``meta.json``.

    Args:
        folder: Existing empty folder.
        kind: of :data:`KINDS`.
        counts: Number of images of each split.
        size: Side of the images in pixels.
        seed: Seed of the set.

    Returns:
        ``annotations_sha256`` and ``images_sha256`` (images, semantic masks, depth maps).
    """
    write = _WRITERS[kind]
    images, annotations = Fingerprint(), Fingerprint()
    (folder / 'annotations').mkdir()
    for split, name in zip(SPLITS, annotation_names(kind), strict=True):
        _save(folder, name, write(folder, split, counts[split], size, seed, images), annotations)
    return {'annotations_sha256': annotations.hexdigest(), 'images_sha256': images.hexdigest()}
