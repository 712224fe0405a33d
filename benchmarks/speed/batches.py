"""Random batches in the form in which a data loader hands them to a model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .stages import Stage

_OBJECTS = 7  # COCO's training images have 7.3 on average
_CLASSES = {'cls': 1000, 'det': 80, 'seg': 150}


def random_batch(
    stage: Stage, number: int, size: str = 'full', seed: int = 0, objects: int = _OBJECTS
) -> dict[str, Any]:
    """``inputs`` (uint8 images [3, side, side], BGR) and ``data_samples``, before preprocessing.

    ``objects`` is how many boxes and masks an image of detection has.
    """
    side = stage.side_at(size)
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(rng.integers(0, 256, (number, 3, side, side), dtype=np.uint8))
    boxed = partial(_boxed, objects=objects)
    makers: dict[str, Callable[..., Any]] = {
        'generic': _unlabelled, 'cls': _labelled, 'det': boxed, 'seg': _masked,
    }  # fmt: skip
    make = makers[stage.task]
    samples = [make(rng, side) for _ in range(number)]
    # classification collates images to one tensor, the others to a list
    inputs = images if stage.task in ('generic', 'cls') else list(images)
    return {'inputs': inputs, 'data_samples': samples}


def _unlabelled(rng: np.random.Generator, side: int) -> Any:
    from mmpretrain.structures import DataSample

    sample = DataSample()
    sample.set_metainfo({'sample_seed': int(rng.integers(2**62))})
    return sample


def _labelled(rng: np.random.Generator, side: int) -> Any:
    return _unlabelled(rng, side).set_gt_label(int(rng.integers(_CLASSES['cls'])))


def _boxed(rng: np.random.Generator, side: int, objects: int) -> Any:
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import PolygonMasks
    from mmengine.structures import InstanceData

    sizes = side * rng.uniform(0.05, 0.5, (objects, 2))
    corners = rng.uniform(0, 1, (objects, 2)) * (side - sizes)
    boxes = np.concatenate([corners, corners + sizes], axis=1).astype(np.float32)
    polygons = [[_octagon(*box)] for box in boxes]
    shape = (side, side)
    sample = DetDataSample(metainfo=_image_info(side))
    sample.gt_instances = InstanceData(
        bboxes=torch.from_numpy(boxes),
        labels=torch.from_numpy(rng.integers(0, _CLASSES['det'], objects)),
        masks=PolygonMasks(polygons, *shape),
    )
    sample.ignored_instances = InstanceData(
        bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64)
    )
    return sample


def _octagon(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    angles = np.arange(8) * np.pi / 4
    x = (left + right + (right - left) * np.cos(angles)) / 2
    y = (top + bottom + (bottom - top) * np.sin(angles)) / 2
    return np.stack([x, y], axis=1).reshape(-1)


def _masked(rng: np.random.Generator, side: int) -> Any:
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    # blocks of one class each, as large as a patch
    blocks = rng.integers(0, _CLASSES['seg'], (side // 16, side // 16))
    labels: Tensor = torch.from_numpy(blocks.repeat(16, 0).repeat(16, 1)).unsqueeze(0)
    sample = SegDataSample(metainfo=_image_info(side))
    sample.gt_sem_seg = PixelData(data=labels)
    return sample


def _image_info(side: int) -> dict[str, Any]:
    return dict(
        img_shape=(side, side), ori_shape=(side, side), pad_shape=(side, side),
        batch_input_shape=(side, side), scale_factor=(1.0, 1.0),
    )
