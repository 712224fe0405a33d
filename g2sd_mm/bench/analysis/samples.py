"""The images that networks are asked about, evenly taken from a config's test data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from torch import Tensor

from ...config.load import image_channels
from ...config.parts import innermost_dataset, preprocessor_of
from ...errors import UserError
from ...models.positions import height_and_width
from ...students.images import FileReader, read_image, with_channels


@dataclass(frozen=True)
class Samples:
    """Images of one size, and what they show.

    images: uint8 [N, C, height, width], channels as the networks take them.
    labels: int64 [N]; None where a whole image has no class.
    """

    images: Tensor
    labels: Tensor | None = None

    def known_labels(self) -> Tensor:
        """The labels, for an analysis of classifiers."""
        assert self.labels is not None, 'whole images without a class'
        return self.labels


def evenly(total: int, number: int) -> list[int]:
    """At most ``number`` of ``range(total)``, evenly spaced, the first among them."""
    number = min(total, number)
    return [i * total // number for i in range(number)]


def labelled_samples(cfg: Config, number: int) -> Samples:
    """Test images of a classification config, prepared by its own test pipeline.

    Raises:
        UserError: if they are not all of one size.
    """
    preprocessor = preprocessor_of(cfg)
    swap = preprocessor.get('to_rgb') or preprocessor.get('bgr_to_rgb')
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        items = [dataset[i] for i in evenly(len(dataset), number)]
    sizes = {tuple(item['inputs'].shape) for item in items}
    if len(sizes) != 1:
        raise UserError(f'the test pipeline gives images of {len(sizes)} sizes: analyses need one')
    images = torch.stack([item['inputs'] for item in items])
    labels = torch.stack([item['data_samples'].gt_label.view(-1)[0] for item in items])
    return Samples(images.flip(1) if swap else images, labels)


def square_samples(
    cfg: Config, number: int, size: int | tuple[int, int], channels: str | None = 'RGB'
) -> Samples:
    """Middle squares of a config's test images (training images, where it tests nothing).

    Args:
        cfg: of any task.
        number: how many, at most.
        size: side in pixels that they are brought to; height and width for other shapes than a
            square.
        channels: ``RGB`` or ``BGR``, as the networks see them.
    """
    loader = cfg.get('test_dataloader') or cfg.train_dataloader
    dataset_cfg = innermost_dataset(loader.dataset).copy()
    dataset_cfg.pop('filter_cfg', None)  # images without objects are as good as others
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        dataset = DATASETS.build(dataset_cfg)
        paths = [dataset.get_data_info(i)['img_path'] for i in evenly(len(dataset), number)]
        reader = FileReader(dataset_cfg.pipeline[0], image_channels(cfg.model), cfg.default_scope)
        read = read_image if reader.channels == 3 else reader.pixels
        images = squares([read(path) for path in paths], size)
    return Samples(images.flip(1) if channels == 'BGR' else images)


def squares(images: Sequence[np.ndarray], size: int | tuple[int, int]) -> Tensor:
    """Middles of images uint8 [height, width, C] in the shape of ``size``, resized to it."""
    height, width = height_and_width(size)
    cut = []
    for image in images:
        # the largest part of that shape
        unit = min(image.shape[0] / height, image.shape[1] / width)
        rows, columns = round(unit * height), round(unit * width)
        top, left = (image.shape[0] - rows) // 2, (image.shape[1] - columns) // 2
        middle = image[top : top + rows, left : left + columns]
        resized = cv2.resize(middle, (width, height), interpolation=cv2.INTER_AREA)
        cut.append(with_channels(resized))
    return torch.from_numpy(np.stack(cut)).permute(0, 3, 1, 2)
