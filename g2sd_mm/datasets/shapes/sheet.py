"""A contact sheet: many samples on one picture, to look at the data before trusting it."""

from __future__ import annotations

import cv2
import numpy as np

from .classes import CLASSES, PALETTE
from .scene import Scene, render_scene
from .store import check_parameters

_CAPTION = 16


def _outlined(scene: Scene, zoom: int) -> np.ndarray:
    """Enlarge a scene and draw the outline and name of each annotated instance on it."""
    image = cv2.resize(scene.image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_NEAREST)
    for instance in scene.instances:
        if not instance.annotated:
            continue
        large = cv2.resize(instance.mask.astype(np.uint8), None, fx=zoom, fy=zoom,
                           interpolation=cv2.INTER_NEAREST)
        contours, _ = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, contours, -1, PALETTE[instance.label], 1)
        x, y, _, height = cv2.boundingRect(large)
        cv2.putText(image, CLASSES[instance.label], (x + 1, y + height // 2),
                    cv2.FONT_HERSHEY_PLAIN, 0.8, (255, 255, 255), 1, cv2.LINE_AA)
    return image


def _captioned(scene: Scene, zoom: int) -> np.ndarray:
    """Enlarge a scene and write its class above it."""
    image = cv2.resize(scene.image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_NEAREST)
    strip = np.zeros((_CAPTION, image.shape[1], 3), np.uint8)
    cv2.putText(strip, CLASSES[scene.label], (3, _CAPTION - 4), cv2.FONT_HERSHEY_PLAIN, 0.9,
                (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate([strip, image])


def contact_sheet(task: str, *, split: str = 'train', rows: int = 5, columns: int = 10,
                  size: int | None = None, seed: int = 0, zoom: int = 2) -> np.ndarray:
    """Draw the first ``rows * columns`` samples of a split, with their annotations.

    Args:
        task: 'cls' (class written above) or 'det' / 'seg' (outlines of the visible masks).
        split: 'train' or 'val'.
        rows: Number of rows.
        columns: Number of columns; 10 puts one class in each column of 'cls'.
        size: Side of a sample in pixels; None takes the default of the task.
        seed: Seed of the set.
        zoom: Enlargement of each sample, whole number.

    Returns:
        uint8 RGB (height, width, 3).

    Raises:
        ValueError: an argument is out of range.
    """
    draw = _captioned if task == 'cls' else _outlined
    side = check_parameters(task, rows * columns, 1, size, seed)['size']
    cells = [draw(render_scene(task, split, i, size=side, seed=seed), zoom)
             for i in range(rows * columns)]
    return np.concatenate([np.concatenate(cells[i:i + columns], 1)
                           for i in range(0, len(cells), columns)])
