"""Detection and instance segmentation with mmdet: Mask R-CNN on COCO in the paper."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from torch import Tensor, nn

from ..errors import UserError
from .drawing import Drawing, LabelPlaces, as_numpy, class_colour, write_png
from .task import Backbone, Features, Image, Metric, PaperData, Task, class_name

_MARGIN = 8  # px around the picture, behind which the side of a box is not drawn any more


class Pyramid(Features):
    """Of a detector, maps [B, C, h, w], fine to coarse."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """One tensor a level."""
        return tuple(self.features(images))


def whole(model: Any, raw: bool = False) -> nn.Module:
    """The detector with all heads; see :class:`g2sd_mm.tasks.two_stage.Detector`."""
    from .two_stage import Detector  # with torchvision, which little else needs

    return Detector(model, raw)


def plain(sample: Any, classes: Sequence[str], threshold: float) -> dict[str, Any]:
    """``instances``: class, score, box and mask of each that reaches the threshold."""
    found = _predicted(sample)
    return {
        'instances': [
            _instance(found, int(i), classes)
            for i in _listed(as_numpy(found.scores), threshold)
        ]
    }


def _predicted(sample: Any) -> Any:
    if not hasattr(sample, 'pred_instances'):
        raise UserError(
            'a panoptic model predicts one map of segments and no instances, which is not written '
            "here: mmdet's DetInferencer draws it"
        )
    return sample.pred_instances


def _listed(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Numbers of the instances that reach the threshold, which is rounded as scores are.

    Else 0.7 of a score would be less than 0.7, in one file and not in another.
    """
    return np.flatnonzero(scores >= np.float32(threshold))


def _instance(found: Any, i: int, classes: Sequence[str]) -> dict[str, Any]:
    plain = {
        'class': class_name(classes, int(found.labels[i])),
        'score': round(float(found.scores[i]), 4),
        'box': [round(float(edge), 1) for edge in found.bboxes[i]],
    }
    if 'masks' in found:
        pixels = np.asfortranarray(found.masks[i].cpu().numpy().astype(np.uint8))
        encoded = coco_mask.encode(pixels)
        plain['mask'] = {'size': encoded['size'], 'counts': encoded['counts'].decode()}
    return plain


def files(sample: Any, path: Path, threshold: float) -> dict[str, Any]:
    """Write ``<path>_masks.png`` of 16 bits: at each pixel the place of its instance in the list.

    It begins at 1; 0 is none. Where several overlap, the surest is meant.
    """
    found = _predicted(sample)
    if 'masks' not in found:
        return {}
    scores = as_numpy(found.scores)
    listed = _listed(scores, threshold)
    height, width = sample.ori_shape
    numbers = np.zeros((height, width), np.uint16)
    for place in np.argsort(scores[listed], kind='stable'):  # the surest on top
        numbers[as_numpy(found.masks[int(listed[place])]) > 0] = place + 1
    file = path.with_name(f'{path.name}_masks.png')
    write_png(file, numbers)
    return {'masks_file': file.name}


def draw(image: Image, sample: Any, classes: Sequence[str], options: Drawing) -> Image:
    """Boxes with class and score, and masks where there are any."""
    instances = sample.get(f'{options.side}_instances')
    boxes = instances.bboxes
    boxes = as_numpy(getattr(boxes, 'tensor', boxes)) * options.scale
    # OpenCV takes no number beyond 32 bits, which boxes of untrained heads have; outside is outside
    boxes = np.nan_to_num(boxes).clip(-_MARGIN, np.tile(image.shape[1::-1], 2) + _MARGIN)
    labels = as_numpy(instances.labels)
    scores = as_numpy(instances.scores) if 'scores' in instances else np.ones(len(labels))
    masks: Any = instances.masks if 'masks' in instances else None
    masks = masks.to_ndarray() if hasattr(masks, 'to_ndarray') else masks
    named = []
    reach = set(_listed(scores, options.threshold).tolist())
    for i in np.argsort(scores):  # the surest on top
        if int(i) not in reach:
            continue
        colour = class_colour(int(labels[i]))
        if masks is not None:
            mask = cv2.resize(as_numpy(masks[i]).astype(np.uint8), image.shape[1::-1])
            image[mask > 0] = (0.5 * image[mask > 0] + 0.5 * np.array(colour)).astype(np.uint8)
        left, top, right, bottom = boxes[i].round().astype(int).tolist()
        cv2.rectangle(image, (left, top), (right, bottom), colour, 2)
        text = class_name(classes, int(labels[i])) + (
            f' {scores[i]:.2f}' if 'scores' in instances else ''
        )
        named.append((text, (left, top, right, bottom), colour))
    places = LabelPlaces(image.shape)
    for text, box, colour in named:  # above all boxes
        places.write(image, text, box, colour)
    return image


def fixed_part(model: Any, images: Tensor) -> None:
    """Backbone, pyramid and RPN: the work on regions depends on what is found."""
    if hasattr(model, 'rpn_head'):
        model.rpn_head(model.extract_feat(images))
    else:
        model(images)


TASK = Task(
    key='det',
    name='detection',
    title='Detection',
    scope='mmdet',
    head='maskrcnn',
    metrics=(
        Metric('bbox_mAP', 'coco/bbox_mAP', 100),
        Metric('segm_mAP', 'coco/segm_mAP', 100),
    ),
    best_by=('coco/segm_mAP', 'coco/bbox_mAP'),
    paper=PaperData(
        'coco',
        'COCO',
        'COCO 2017',
        {
            'Object Detection': {'box AP': 'bbox_mAP'},
            'Instance Segmentation': {'mask AP': 'segm_mAP'},
        },
    ),
    parts={'pyramid': Pyramid, 'backbone': Backbone},
    plain=plain,
    draw=draw,
    files=files,
    fixed_part=fixed_part,
    exports={'detector': whole, 'raw': partial(whole, raw=True)},
    left_out='the heads that find boxes and masks in these maps (--part detector has them)',
    place=1,
)
