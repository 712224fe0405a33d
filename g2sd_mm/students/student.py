"""A trained student: a stock model that knows its images, its classes and where it comes from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import mmcv
import numpy as np
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.logging import print_log
from mmengine.registry import TRANSFORMS, DefaultScope
from torch import Tensor, nn

from ..agreement.inputs import Inputs, cut_of, pixels
from ..checkpoints.record import Record, restore
from ..compat.quiet import quiet_imports
from ..config.load import image_channels
from ..errors import DataError, UserError
from ..tasks import task_named
from ..tasks.drawing import draw_sample
from .build import registered_only

#: A file, or pixels [height, width, C]: of three channels uint8, in RGB order.
Image = str | Path | np.ndarray


class Student(nn.Module):
    """What :func:`~g2sd_mm.students.load.load_student` gives.

    Args:
        model: the network of its own library, filled, in eval mode.
        network: its record, see :func:`~g2sd_mm.checkpoints.record.describe_network`.
        origin: where it comes from: config, data set, teacher, metrics, commit; may be empty.
        inputs: the images that it was trained on, as far as they are known.

    Attributes:
        model: mmpretrain's ``ImageClassifier``, mmdet's ``MaskRCNN`` or mmseg's
            ``EncoderDecoder``; its ``backbone`` is the ViT.
        task: ``classification``, ``detection``, ``segmentation`` or ``depth``.
        classes: names by number; empty if nobody told.
        inputs: the images that it was trained on.
        mean, std: of the RGB channels, in values of 0 to 255; images are normalised with them.
        image_size: side in pixels of the images that it was trained on, or else that the network
            is laid out for, or (height, width); None where neither is known.
        in_channels: of the images; 3 is RGB.
    """

    _whole: nn.Module

    def __init__(
        self,
        model: nn.Module,
        network: Record,
        origin: Mapping[str, Any] | None = None,
        inputs: Inputs | None = None,
    ) -> None:
        super().__init__()
        self.model: Any = model
        self.network, self.origin = network, dict(origin or {})
        self.task: str = network['task']
        self._task = task_named(self.task)
        self.classes: tuple[str, ...] = tuple(network['classes'])
        self.inputs = inputs or Inputs()
        self._size = self.inputs.size
        self._unlike: set[str] = set()  # what was said of images of other sizes
        own = getattr(model.backbone, 'img_size', None)
        self.image_size = _size(self._size if _is_square(self._size) else own)
        self.in_channels = image_channels(network['model'])
        preprocessor = restore(network['model'].get('data_preprocessor') or {})
        self.mean = tuple(map(float, preprocessor.get('mean') or (0, 0, 0)))
        self.std = tuple(map(float, preprocessor.get('std') or (1, 1, 1)))
        # a second name for modules of `model`: outside of the state dict
        object.__setattr__(self, '_whole', self._task.whole(model))
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
        Depth: metres [B, 1, height, width].
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
            pixels by class name; or ``depth``: metres of the nearest, median and farthest pixel.

        Raises:
            UserError: if the file is missing or no image, or the array is of another type or shape.
        """
        return self.plain(self.sample(image), threshold)

    def plain(self, sample: Any, threshold: float = 0.3) -> dict[str, Any]:
        """A sample of :meth:`sample` as :meth:`predict` gives it."""
        return self._task.plain(sample, self.classes, threshold)

    def files(self, sample: Any, path: Path) -> dict[str, Any]:
        """Write what plain values of a sample cannot hold, such as a depth map, beside ``path``.

        Returns:
            entries for ``predictions.json`` that name the files; empty for most tasks.
        """
        return self._task.files(sample, path)

    def draw(self, image: np.ndarray, sample: Any, **options: Any) -> np.ndarray:
        """A picture of a sample; see :func:`g2sd_mm.tasks.drawing.draw_sample`."""
        return draw_sample(self._task, image, sample, self.classes, **options)

    @torch.no_grad()
    def sample(self, image: Image) -> Any:
        """As :meth:`predict`, but the library's own data sample with all tensors.

        ``pred_score`` [classes] for classification, ``pred_instances`` (``bboxes`` [n, 4],
        ``scores`` [n], ``labels`` [n], ``masks`` [n, height, width]) for detection,
        ``pred_sem_seg.data`` [1, height, width] and ``seg_logits`` for segmentation,
        ``pred_depth_map.data`` [1, height, width] in metres for depth.
        """
        with DefaultScope.overwrite_default_scope(self.network['scope']):
            if self._prepare is None:
                with quiet_imports():
                    self._prepare = _preparation(self.network)
            given = self._as_input(image)
            inputs = self._prepare(given)
            self._say_size(given['ori_shape'], tuple(inputs['inputs'].shape[-2:]))
            (sample,) = self.model.test_step(pseudo_collate([inputs]))
        return sample

    def picture(self, path: str | Path) -> np.ndarray:
        """An image file as a picture to draw on, uint8 [height, width, 3]."""
        return read_image(path) if self.in_channels == 3 else shown(self._read(str(path)))

    def _say_size(self, image: tuple[int, int], prepared: tuple[int, int]) -> None:
        """Once for each kind: images that the pipeline leaves at a size that is not the usual."""
        if self.task != 'classification':
            return
        note, cut = '', cut_of(restore(self.network['test_pipeline']))
        if self._size and prepared != self._size:
            note = (
                f'was trained on images of {pixels(self._size)} and predicts this one at '
                f'{pixels(prepared)}'
            )
        elif cut.as_it_is and min(image) > 4 / 3 * min(prepared):
            note = (
                f'has a test pipeline that does not resize: it sees the central {pixels(prepared)} '
                f'of this image of {pixels(image)}'
            )
        if note and note not in self._unlike:
            self._unlike.add(note)
            print_log(f'the student {note}', logger='current', level=logging.WARNING)

    def _read(self, path: str) -> np.ndarray:
        check_image(path)
        with DefaultScope.overwrite_default_scope(self.network['scope']), quiet_imports():
            return read_pixels(restore(self.network['test_pipeline'][0]), path)

    def _as_input(self, image: Image) -> dict[str, Any]:
        if self.in_channels == 3:
            return _as_input(image)
        path = str(image) if isinstance(image, (str, Path)) else ''
        array = with_channels(self._read(path) if path else np.asarray(image))
        if array.ndim != 3 or array.shape[2] != self.in_channels:
            raise UserError(
                f'this student takes images of {self.in_channels} channels, and '
                f'{path or "this array"} is {list(array.shape)}'
            )
        return _loaded(array, path)


def _is_square(size: tuple[int, int] | None) -> bool:
    return size is not None and size[0] == size[1]


def _size(size: int | Sequence[int] | None) -> int | tuple[int, int] | None:
    if isinstance(size, Sequence):
        return size[0] if size[0] == size[1] else (size[0], size[1])
    return size


def _preparation(network: Record) -> Callable[[dict], dict]:
    """The test pipeline after its first step, which reads the file: it is given pixels."""
    if not network['test_pipeline']:
        raise UserError('the config of this student has no test pipeline to prepare images with')
    read, *steps = restore(network['test_pipeline'])
    with registered_only():
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


def read_pixels(step: Mapping[str, Any], path: str) -> np.ndarray:
    """Pixels [height, width, C] of a file, as the first step of a test pipeline reads them.

    Raises:
        UserError: if the file cannot be read so.
    """
    reader = TRANSFORMS.build(dict(step))
    try:
        results = reader({'img_path': path})
    except (DataError, OSError, ValueError, AssertionError) as error:
        raise UserError(
            f'{path} cannot be read by {step.get("type")} of the test pipeline: {error}'
        ) from error
    return with_channels(results['img'])


def with_channels(pixels: np.ndarray) -> np.ndarray:
    """[height, width] as [height, width, 1]; three sides as they are."""
    return pixels[..., None] if pixels.ndim == 2 else pixels


def shown(pixels: np.ndarray) -> np.ndarray:
    """A picture to draw on, uint8 [height, width, 3]: the first three channels, or one as grey.

    Values that are no bytes are stretched from the smallest to the largest.
    """
    pixels = with_channels(pixels)
    pixels = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1].repeat(3, axis=2)
    if pixels.dtype != np.uint8:
        values = pixels.astype(np.float64)
        low, high = values.min(), values.max()
        pixels = ((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
    return np.ascontiguousarray(pixels)
