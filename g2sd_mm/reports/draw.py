"""Draw predictions or ground truth of any of the three tasks onto an image."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from ..config.classes import class_name

Image = np.ndarray  # uint8 [height, width, 3], RGB
Colour = tuple[int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LEAST_SIDE = 320  # px; smaller pictures are enlarged, or their text could not be read
_VOID = 255


def class_colour(label: int) -> Colour:
    """A colour for a class number: neighbours lie far apart on the colour circle."""
    hue = (label * 0.61803) % 1.0  # golden ratio
    red, green, blue = (int(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.75, 0.95))
    return red, green, blue


def draw_sample(
    image: Image,
    sample: Any,
    classes: Sequence[str],
    truth: bool = False,
    threshold: float = 0.3,
    legend: bool = True,
) -> Image:
    """Draw a data sample of mmpretrain, mmdet or mmseg.

    Args:
        image: the picture that the sample's coordinates refer to.
        sample: with predictions, or with annotations if ``truth``.
        classes: class names by number.
        truth: draw the annotations instead of the predictions.
        threshold: detections below this score are left out.
        legend: of the classes present, to the right of a segmentation.

    Returns:
        a new image, enlarged if it is small.
    """
    side = 'gt' if truth else 'pred'
    scale = max(1, round(_LEAST_SIDE / max(image.shape[:2])))
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    if f'{side}_sem_seg' in sample:
        labels = _numpy(sample.get(f'{side}_sem_seg').data).squeeze()
        return _draw_labels(image, labels.astype(np.uint8), classes, legend)
    if f'{side}_instances' in sample:
        return _draw_instances(image, sample.get(f'{side}_instances'), classes, threshold, scale)
    return _draw_class(image, sample, classes, side)


def _draw_labels(
    image: Image, labels: np.ndarray, classes: Sequence[str], legend: bool
) -> Image:
    height, width = image.shape[:2]
    labels = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
    found = [int(label) for label in np.unique(labels) if label != _VOID]
    # what is nothing in particular stays as it is in the image
    present = [label for label in found if class_name(classes, label) != 'background']
    painted = image.copy()
    for label in present:
        painted[labels == label] = class_colour(label)
    mixed = cv2.addWeighted(image, 0.45, painted, 0.55, 0)
    if not legend:
        return mixed
    return np.hstack([mixed, _legend(height, [(class_name(classes, c), c) for c in present])])


def _legend(height: int, entries: Sequence[tuple[str, int]]) -> Image:
    """White panel with a coloured square and a name for each class."""
    step = max(12, min(20, height // max(len(entries), 1)))
    panel = np.full((height, 170, 3), 255, np.uint8)
    for i, (name, label) in enumerate(entries):
        top = i * step + 3
        cv2.rectangle(panel, (6, top), (16, top + 9), class_colour(label), -1)
        _write(panel, name, (22, top + 9), (0, 0, 0), outline=False)
    return panel


def _draw_instances(
    image: Image, instances: Any, classes: Sequence[str], threshold: float, scale: int
) -> Image:
    boxes = instances.bboxes
    boxes = _numpy(getattr(boxes, 'tensor', boxes)) * scale
    labels = _numpy(instances.labels)
    scores = _numpy(instances.scores) if 'scores' in instances else np.ones(len(labels))
    masks: Any = instances.masks if 'masks' in instances else None
    masks = masks.to_ndarray() if hasattr(masks, 'to_ndarray') else masks
    for i in np.argsort(scores):  # the surest on top
        if scores[i] < threshold:
            continue
        colour = class_colour(int(labels[i]))
        if masks is not None:
            mask = cv2.resize(_numpy(masks[i]).astype(np.uint8), image.shape[1::-1])
            image[mask > 0] = (0.5 * image[mask > 0] + 0.5 * np.array(colour)).astype(np.uint8)
        left, top, right, bottom = boxes[i].round().astype(int).tolist()
        cv2.rectangle(image, (left, top), (right, bottom), colour, 2)
        text = class_name(classes, int(labels[i])) + (
            f' {scores[i]:.2f}' if 'scores' in instances else ''
        )
        _write(image, text, (left + 2, max(top - 4, 12)), colour)
    return image


def _draw_class(image: Image, sample: Any, classes: Sequence[str], side: str) -> Image:
    if side == 'gt':
        lines = [class_name(classes, int(label)) for label in _numpy(sample.gt_label)]
    else:
        scores = _numpy(sample.pred_score)
        best = np.argsort(scores)[::-1][:5]
        lines = [f'{class_name(classes, int(label))} {scores[label]:.2f}' for label in best]
    for i, line in enumerate(lines):
        _write(image, line, (6, 18 + 18 * i), (255, 255, 255))
    return image


def _write(
    image: Image, text: str, place: tuple[int, int], colour: Colour, outline: bool = True
) -> None:
    if outline:
        cv2.putText(image, text, place, _FONT, 0.45, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(image, text, place, _FONT, 0.4 if not outline else 0.45, colour, 1, cv2.LINE_AA)


def _numpy(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if hasattr(values, 'detach') else np.asarray(values)
