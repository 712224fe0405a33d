"""Semantic segmentation with mmseg: UPerNet on ADE20K in the paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image as pillow
from torch import Tensor, nn

from .drawing import Drawing, as_numpy, class_colour, write, write_png
from .task import Backbone, Features, Image, Metric, PaperData, Task, class_name

_VOID = 255


class Segmentor(Features):
    """With the decode head: logits [B, classes, height, width] at the images' size."""

    output = 'logits'

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.decode_head, self.test_cfg = model.decode_head, model.test_cfg

    def forward(self, images: Tensor) -> Tensor:
        """Logits as mmseg predicts them; a cascade's heads are given those of the head before."""
        maps, head = self.features(images), self.decode_head
        heads: list[Any] = [*head] if isinstance(head, nn.ModuleList) else [head]
        *first, last = heads
        before: tuple[Tensor, ...] = ()
        for one in first:
            before = (one(maps, *before),)
        return last.predict(maps, *before, [{'img_shape': images.shape[2:]}], self.test_cfg)


def plain(sample: Any, classes: Sequence[str], threshold: float) -> dict[str, Any]:
    """``classes``: share of the pixels by class name."""
    labels, counts = np.unique(sample.pred_sem_seg.data.cpu().numpy(), return_counts=True)
    shares = counts / counts.sum()
    return {
        'classes': {
            class_name(classes, int(label)): round(float(share), 4)
            for label, share in zip(labels, shares, strict=True)
        }
    }


def files(sample: Any, path: Path, threshold: float) -> dict[str, Any]:
    """Write ``<path>_mask.png``: the class number of each pixel, in the colours that are drawn.

    8 bits with a palette, or 16 bits without one where there are more than 256 classes.
    """
    labels = as_numpy(sample.pred_sem_seg.data).squeeze(0)
    file = path.with_name(f'{path.name}_mask.png')
    if labels.max() > 255:
        write_png(file, labels.astype(np.uint16))
    else:
        picture = pillow.fromarray(labels.astype(np.uint8))
        picture.putpalette([value for label in range(256) for value in class_colour(label)])
        picture.save(file)
    return {'mask_file': file.name}


def draw(image: Image, sample: Any, classes: Sequence[str], options: Drawing) -> Image:
    """Colours over the image, with the names of the classes beside it."""
    values = as_numpy(sample.get(f'{options.side}_sem_seg').data).squeeze()
    height, width = image.shape[:2]
    size = (width, height)
    labels = cv2.resize(values.astype(np.uint16), size, interpolation=cv2.INTER_NEAREST)
    # of more classes than a mask of 8 bits has, this is one like the others
    void = _VOID if len(classes) <= _VOID else None
    found = [int(label) for label in np.unique(labels) if label != void]
    # what is nothing in particular stays as it is in the image
    present = [label for label in found if class_name(classes, label) != 'background']
    painted = image.copy()
    for label in present:
        painted[labels == label] = class_colour(label)
    mixed = cv2.addWeighted(image, 0.45, painted, 0.55, 0)
    if not options.legend:
        return mixed
    return np.hstack([mixed, _legend(height, [(class_name(classes, c), c) for c in present])])


def _legend(height: int, entries: Sequence[tuple[str, int]]) -> Image:
    """White panel with a coloured square and a name for each class."""
    step = max(12, min(20, height // max(len(entries), 1)))
    panel = np.full((height, 170, 3), 255, np.uint8)
    for i, (name, label) in enumerate(entries):
        top = i * step + 3
        cv2.rectangle(panel, (6, top), (16, top + 9), class_colour(label), -1)
        write(panel, name, (22, top + 9), (0, 0, 0), outline=False)
    return panel


TASK = Task(
    key='seg',
    name='segmentation',
    title='Segmentation',
    scope='mmseg',
    head='upernet',
    metrics=(Metric('mIoU', 'mIoU'), Metric('mAcc', 'mAcc')),
    best_by=('mIoU',),
    paper=PaperData(
        'ade20k', 'ADE20K', 'ADE20K', {'Semantic Segmentation': {'mIoU': 'mIoU'}}
    ),
    parts={'segmentor': Segmentor, 'backbone': Backbone},
    plain=plain,
    draw=draw,
    files=files,
    left_out=(
        'the exported network takes one crop; sliding it over a larger image is left to the caller'
    ),
    place=2,
)
