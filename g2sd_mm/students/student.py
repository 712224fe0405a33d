"""A trained student: a stock model that knows its images, its classes and where it comes from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.logging import print_log
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from ..agreement.inputs import Inputs, channel_order, cut_of, pixels, reading
from ..checkpoints.record import Record, restore
from ..config.load import image_channels
from ..errors import UserError
from ..models import G2SDViT
from ..models.positions import plain_size
from ..tasks import task_named
from ..tasks.drawing import draw_sample
from .batches import predictions, unfit_told
from .build import BUILDING, registered_only
from .images import FileReader, Image
from .sources import Item, Source, find
from .tiles import tiling_for


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
        mean, std: of the channels in their order, in values of 0 to 255; images are normalised
            with them.
        channels: ``RGB`` or ``BGR``, as the network sees them; None where they are others.
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
        if isinstance(model.backbone, G2SDViT):
            model.backbone.skips_unread = True
        own = getattr(model.backbone, 'img_size', None)
        seen = self.task == 'classification' or len(set(self._size or ())) == 1
        size = (self._size if seen else None) or own
        self.image_size = plain_size(size) if size else None
        self.in_channels = image_channels(network['model'])
        preprocessor = restore(network['model'].get('data_preprocessor') or {})
        self.mean = tuple(map(float, preprocessor.get('mean') or (0, 0, 0)))
        self.std = tuple(map(float, preprocessor.get('std') or (1, 1, 1)))
        steps = restore(network['test_pipeline'])
        self._reader = FileReader(reading(steps)[0], self.in_channels, network['scope'])
        self.channels = channel_order(preprocessor, steps) if self._reader.bgr else None
        # a second name for modules of `model`: outside of the state dict
        object.__setattr__(self, '_whole', self._task.whole(model))
        self._pipeline: Compose | None = None
        self.eval()

    def __getstate__(self) -> dict[str, Any]:
        """For another process, or ``torch.save``; the pipeline is built there again."""
        return {**super().__getstate__(), '_pipeline': None}

    def _apply(self, fn: Callable, *args: Any, **kwargs: Any) -> Student:
        """Also tells the preprocessor where the images have to go; it follows no parent."""
        module = super()._apply(fn, *args, **kwargs)
        self.model.data_preprocessor.to(next(self.parameters()).device)
        return module

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Normalised images [B, C, height, width] -> what the task's network computes of them.

        Classification: logits [B, classes]. Segmentation: logits [B, classes, height, width].
        Depth: metres [B, 1, height, width].
        Detection: the pyramid's maps [B, C, h, w], fine to coarse; boxes come from :meth:`predict`.

        Raises:
            ValueError: if a side is no multiple of the patch size.
        """
        return self._whole(images)

    def predict(
        self,
        source: Any,
        threshold: float = 0.3,
        *,
        batch_size: int | None = None,
        tile: int | None = None,
        progress: bool = False,
    ) -> Any:
        """Predict on one picture, or on many in batches, prepared as the test images were.

        Args:
            source: a picture, or several: see :func:`~g2sd_mm.students.sources.find`. A picture is
                a file or its bytes, an array or tensor of 1 to 4 channels and any type of number,
                or pillow's image: see :func:`~g2sd_mm.students.images.rgb_pixels`. (Of a student
                for other images: files, and pixels with its channels, as its files hold them.)
            threshold: least score of a box.
            batch_size: images at a time; without it, by their size.
            tile: detection and segmentation: side in pixels of the tiles that larger images are
                cut into, overlapping by a quarter; see :mod:`~g2sd_mm.students.tiles`.
            progress: of several, show a bar, and say at the end how many images per second.

        Returns:
            plain values. ``scores``: probability by class name, the best five, falling; or
            ``instances``: dicts of ``class``, ``score``, ``box`` (left, top, right, bottom in
            pixels of the image) and ``mask`` (COCO run lengths); or ``classes``: share of the
            pixels by class name; or ``depth``: metres of the nearest, median and farthest pixel.
            Of several pictures a list, in order, with the picture's name as ``image``; where one
            cannot be read there is ``error`` in the place of a prediction, and a warning.

        Raises:
            UserError: if a path leads nowhere; of one picture, if it cannot be read, or is of
                a size that the network cannot take.
        """
        check_options(threshold, batch_size)
        found = find(source)
        if found.single and tile is None:
            (item,) = found.items
            return self.plain(self.sample(item.picture()), threshold)
        results = []
        stream = self.stream(
            found, threshold, batch_size=batch_size, tile=tile, progress=progress
        )
        for result in stream:
            if 'error' in result:
                if found.single:
                    raise UserError(result['error'])
                print_log(result['error'], logger='current', level=logging.WARNING)
            results.append(result)
        if found.single:
            results[0].pop('image')
            return results[0]
        return results

    def stream(
        self,
        source: Any,
        threshold: float = 0.3,
        *,
        batch_size: int | None = None,
        tile: int | None = None,
        progress: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """As :meth:`predict` of several pictures, one result after the other: for any number.

        A source that is an iterator is read a few batches ahead.
        """
        check_options(threshold, batch_size)
        tiling = tiling_for(self, tile)

        def finish(number: int, item: Item, sample: Any) -> dict[str, Any]:
            return self.plain(sample, threshold)

        source = source if isinstance(source, Source) else find(source)
        options: dict[str, Any] = dict(batch_size=batch_size, tiling=tiling, progress=progress)
        for item, result in predictions(self, source, finish, **options):
            told = {'error': str(result)} if isinstance(result, UserError) else result
            yield {'image': item.name, **item.facts, **told}

    def plain(self, sample: Any, threshold: float = 0.3) -> dict[str, Any]:
        """A sample of :meth:`sample` as :meth:`predict` gives it."""
        return self._task.plain(sample, self.classes, threshold)

    def files(self, sample: Any, path: Path, threshold: float = 0.3) -> dict[str, Any]:
        """Write what plain values of a sample cannot hold, such as label maps, beside ``path``.

        Returns:
            entries for ``predictions.json`` that name the files; empty for classification.
        """
        return self._task.files(sample, path, threshold)

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

        Raises:
            UserError: if the image cannot be read, or is of a size that the network cannot take.
        """
        name = str(image) if isinstance(image, (str, Path)) else 'this image'
        self.ready()
        with unfit_told(name):
            (sample,) = self.run([self.prepare(self.load(image))])
        return sample

    # The steps of a prediction.

    def ready(self) -> None:
        """Build the test pipeline after its first step, once: it is given pixels.

        Raises:
            UserError: if there is none, or the weights were turned into 16 bits.
        """
        if (kind := next(self.parameters()).dtype).itemsize < 4:
            raise UserError(f'weights of {kind} take no images: student.float(), torch.autocast')
        if self._pipeline is not None:
            return
        steps = restore(self.network['test_pipeline'])
        if not steps:
            raise UserError(
                'the config of this student has no test pipeline to prepare images with'
            )
        self._cut = cut_of(steps)
        scope = DefaultScope.overwrite_default_scope(self.network['scope'])
        with BUILDING, scope, registered_only():
            self._pipeline = Compose(reading(steps)[1])

    def load(self, image: Image) -> dict[str, Any]:
        """What the first step of the pipeline leaves: ``img`` in the order of files, its size."""
        path = str(image) if isinstance(image, (str, Path)) else ''
        return self.as_loaded(self._reader.pixels(image), path)

    def as_loaded(self, pixels: np.ndarray, path: str = '') -> dict[str, Any]:
        """The same of ``img`` itself."""
        size = pixels.shape[:2]
        return {
            'img': pixels,
            'img_shape': size,
            'ori_shape': size,
            'img_path': path,
            'img_id': 0,
            'reduce_zero_label': False,
        }

    def prepare(self, given: dict[str, Any]) -> dict[str, Any]:
        """``inputs`` [C, height, width] and data sample, as the test pipeline makes them."""
        self.ready()
        assert self._pipeline is not None
        if self._reader.given:
            given['img'] = given['img'][..., ::-1]
        if self._reader.flat and given['img'].shape[2:] == (1,):
            given['img'] = given['img'][..., 0]
        if self._reader.step.get('to_float32'):
            given['img'] = given['img'].astype(np.float32)
        prepared: Any = self._pipeline(given)
        self._say_size(given['ori_shape'], tuple(prepared['inputs'].shape[-2:]))
        return prepared

    def run(self, prepared: Sequence[dict[str, Any]]) -> list[Any]:
        """Data samples of prepared images of one size, predicted together."""
        if self.task != 'classification':
            return self.model.test_step(pseudo_collate(list(prepared)))
        # a whole batch is normalised at once, and samples, which hold no tensors yet, stay as
        # they are: the preprocessor would copy each
        batch = {'inputs': torch.stack([one['inputs'] for one in prepared])}
        inputs = self.model.data_preprocessor(batch, False)['inputs']
        samples = [one['data_samples'] for one in prepared]
        return self.model(inputs, samples, mode='predict')

    def picture(self, image: Image) -> np.ndarray:
        """A picture to draw on, uint8 [height, width, 3]."""
        return self._reader.picture(image)

    def _say_size(self, image: tuple[int, int], prepared: tuple[int, int]) -> None:
        """Once for each kind: images that the pipeline leaves at a size that is not the usual."""
        if self.task != 'classification':
            return
        note, cut = '', self._cut
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


def check_options(threshold: float, batch_size: int | None = None) -> None:
    """Refuse batches of nothing, and a least score that no box can reach: all would seem empty.

    Raises:
        UserError: for a score above 1, or NaN, and a size below 1.
    """
    if not threshold <= 1:
        raise UserError(f'threshold is {threshold:g}, and scores are 0 to 1: give 0.3 for 30 %')
    if batch_size is not None and batch_size < 1:
        raise UserError(f'batch_size is {batch_size}: give 1 or more')
