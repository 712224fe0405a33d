"""A trained student: a stock model that knows its images, its classes and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import mmcv
import numpy as np
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from ..checkpoints.record import Record, restore
from ..compat.quiet import quiet_imports
from ..config.channels import image_channels
from ..errors import UserError
from .networks import WHOLE
from .predictions import plain_prediction
from .reading import read_pixels, shown, with_channels

#: A file, or pixels [height, width, C]: of three channels uint8, in RGB order.
Image = str | Path | np.ndarray


class Student(nn.Module):
    """What :func:`~g2sd_mm.students.load.load_student` gives.

    Args:
        model: the network of its own library, filled, in eval mode.
        network: its record, see :func:`~g2sd_mm.checkpoints.record.describe_network`.
        origin: where it comes from: config, data set, teacher, metrics, commit; may be empty.

    Attributes:
        model: mmpretrain's ``ImageClassifier``, mmdet's ``MaskRCNN`` or mmseg's
            ``EncoderDecoder``; its ``backbone`` is the ViT.
        task: ``classification``, ``detection`` or ``segmentation``.
        classes: names by number; empty if nobody told.
        mean, std: of the RGB channels, in values of 0 to 255; images are normalised with them.
        image_size: side in pixels that the network is laid out for, or (height, width); None where
            it does not say.
        in_channels: of the images; 3 is RGB.
    """

    _whole: nn.Module

    def __init__(
        self, model: nn.Module, network: Record, origin: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.model: Any = model
        self.network, self.origin = network, dict(origin or {})
        self.task: str = network['task']
        self.classes: tuple[str, ...] = tuple(network['classes'])
        self.image_size = _size(getattr(model.backbone, 'img_size', None))
        self.in_channels = image_channels(network['model'])
        preprocessor = restore(network['model'].get('data_preprocessor') or {})
        self.mean = tuple(map(float, preprocessor.get('mean') or (0, 0, 0)))
        self.std = tuple(map(float, preprocessor.get('std') or (1, 1, 1)))
        # a second name for modules of `model`: outside of the state dict
        object.__setattr__(self, '_whole', WHOLE[self.task](model))
        self._prepare: Callable[[dict], dict] | None = None
        self.eval()

    def _apply(self, fn: Callable, *args: Any, **kwargs: Any) -> Student:
        """Also tells the preprocessor where the images have to go; it follows no parent."""
        module = super()._apply(fn, *args, **kwargs)
        self.model.data_preprocessor.to(next(self.parameters()).device)
        return module

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Normalised RGB images [B, 3, height, width] -> what the task's network computes of them.

        Classification: logits [B, classes]. Segmentation: logits [B, classes, height, width].
        Detection: the pyramid's maps [B, C, h, w], fine to coarse; boxes come from :meth:`predict`.

        Raises:
            ValueError: if a side is no multiple of the patch size.
        """
        return self._whole(images)

    def predict(self, image: Image, threshold: float = 0.3) -> dict[str, Any]:
        """Predict on one image, prepared as the student's test images were.

        Args:
            image: a file, or uint8 pixels [height, width, 3], RGB (of a student for other images,
                [height, width, in_channels] as its files hold them).
            threshold: least score of a box.

        Returns:
            plain values. ``scores``: probability by class name, the best five, falling; or
            ``instances``: dicts of ``class``, ``score``, ``box`` (left, top, right, bottom in
            pixels of the image) and ``mask`` (COCO run lengths); or ``classes``: share of the
            pixels by class name.

        Raises:
            UserError: if the file is missing or no image, or the array is of another type or shape.
        """
        return plain_prediction(self.sample(image), self.classes, threshold)

    @torch.no_grad()
    def sample(self, image: Image) -> Any:
        """As :meth:`predict`, but the library's own data sample with all tensors.

        ``pred_score`` [classes] for classification, ``pred_instances`` (``bboxes`` [n, 4],
        ``scores`` [n], ``labels`` [n], ``masks`` [n, height, width]) for detection,
        ``pred_sem_seg.data`` [1, height, width] and ``seg_logits`` for segmentation.
        """
        with DefaultScope.overwrite_default_scope(self.network['scope']):
            if self._prepare is None:
                with quiet_imports():
                    self._prepare = _preparation(self.network)
            inputs = self._prepare(self._as_input(image))
            (sample,) = self.model.test_step(pseudo_collate([inputs]))
        return sample

    def picture(self, path: str | Path) -> np.ndarray:
        """An image file as a picture to draw on, uint8 [height, width, 3]."""
        return read_image(path) if self.in_channels == 3 else shown(self._read(str(path)))

    def _read(self, path: str) -> np.ndarray:
        check_image(path)
        with DefaultScope.overwrite_default_scope(self.network['scope']), quiet_imports():
            return read_pixels(restore(self.network['test_pipeline'][0]), path)

    def _as_input(self, image: Image) -> dict[str, Any]:
        if self.in_channels == 3:
            return _as_input(image)
        path = str(image) if isinstance(image, (str, Path)) else ''
        pixels = with_channels(self._read(path) if path else np.asarray(image))
        if pixels.ndim != 3 or pixels.shape[2] != self.in_channels:
            raise UserError(
                f'this student takes images of {self.in_channels} channels, and '
                f'{path or "this array"} is {list(pixels.shape)}'
            )
        return _loaded(pixels, path)


def _size(size: int | Sequence[int] | None) -> int | tuple[int, int] | None:
    if isinstance(size, Sequence):
        return size[0] if size[0] == size[1] else (size[0], size[1])
    return size


def _preparation(network: Record) -> Callable[[dict], dict]:
    """The test pipeline after its first step, which reads the file: it is given pixels."""
    if not network['test_pipeline']:
        raise UserError('the config of this student has no test pipeline to prepare images with')
    read, *steps = restore(network['test_pipeline'])
    pipeline = Compose(steps)

    def prepare(item: dict) -> dict:
        if read.get('to_float32'):
            item['img'] = item['img'].astype(np.float32)
        return pipeline(item)

    return prepare


def _as_input(image: Image) -> dict[str, Any]:
    """What the first step of a pipeline leaves: pixels in BGR order, and their size."""
    path = str(image) if isinstance(image, (str, Path)) else ''
    pixels = read_image(path) if path else np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise UserError(
            f'an image is a file or uint8 pixels [height, width, 3] in RGB order, got '
            f'{pixels.dtype} {list(pixels.shape)}'
        )
    return _loaded(pixels[..., ::-1].copy(), path)


def _loaded(pixels: np.ndarray, path: str) -> dict[str, Any]:
    size = pixels.shape[:2]
    return {
        'img': pixels,
        'img_shape': size,
        'ori_shape': size,
        'img_path': path,
        'img_id': 0,
        'reduce_zero_label': False,
    }


def read_image(path: str | Path) -> np.ndarray:
    """Pixels of a file, uint8 [height, width, 3], RGB.

    Raises:
        UserError: if it is missing or no image.
    """
    check_image(path)
    try:
        return mmcv.imread(str(path), channel_order='rgb')
    except (cv2.error, ValueError) as error:  # what it makes of a file that is no image
        raise UserError(f'{path} is not an image that can be read') from error


def check_image(path: str | Path) -> None:
    """Say in one line that there is no such file.

    Raises:
        UserError: if so.
    """
    if not Path(path).is_file():
        raise UserError(f'no image file {path}')
