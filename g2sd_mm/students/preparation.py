"""The test pipeline of a student, for images that are already read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from mmcv.transforms import CenterCrop
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope

from ..checkpoints.record import Record, restore
from ..errors import UserError
from .build import BUILDING, registered_only

#: What the first step of a pipeline leaves -> ``inputs`` and data sample.
Preparation: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]


def preparation(network: Record) -> Preparation:
    """The test pipeline after its first step, which reads the file: it is given pixels.

    Steps that only cut a small image, or leave it at its size, take a shorter way to the same
    pixels: threads that predict many pictures wait for each other while Python works.

    Args:
        network: what a student's record says of it.

    Raises:
        UserError: if there is no pipeline.
    """
    if not network['test_pipeline']:
        raise UserError('the config of this student has no test pipeline to prepare images with')
    read, *steps = restore(network['test_pipeline'])
    with BUILDING, DefaultScope.overwrite_default_scope(network['scope']), registered_only():
        pipeline = Compose(steps)
    pipeline.transforms = [_short(step) for step in pipeline.transforms]

    flat = str(read.get('type')).endswith('LoadImageFromFile')  # it leaves grey as [height, width]

    def prepare(item: dict[str, Any]) -> dict[str, Any]:
        if flat and item['img'].shape[2:] == (1,):
            item['img'] = item['img'][..., 0]
        if read.get('to_float32'):
            item['img'] = item['img'].astype(np.float32)
        return pipeline(item)

    return prepare


def _short(step: Any) -> Preparation:
    kind = type(step)
    if kind.__name__ == 'ResizeEdge' and kind.__module__.startswith('mmpretrain.'):
        return _unless_it_fits(step) if step.edge == 'short' else step
    return _cut(step) if kind is CenterCrop else step


def _unless_it_fits(step: Any) -> Preparation:
    """Resizing to the length of the shorter edge, left out where an image has it."""

    def resize(item: dict[str, Any]) -> dict[str, Any]:
        height, width = item['img'].shape[:2]
        if min(height, width) != step.scale:
            return step(item)
        item.update(scale=(width, height), scale_factor=(1.0, 1.0), img_shape=(height, width))
        return item

    return resize


def _cut(step: Any) -> Preparation:
    """Cutting the centre out of an image that is large enough."""
    wide, high = step.crop_size

    def cut(item: dict[str, Any]) -> dict[str, Any]:
        height, width = item['img'].shape[:2]
        if height < high or width < wide:
            return step(item)
        top, left = round((height - high) / 2), round((width - wide) / 2)
        item['img'] = item['img'][top : top + high, left : left + wide]
        item.update(img_shape=(high, wide), pad_shape=(high, wide))
        return item

    return cut
