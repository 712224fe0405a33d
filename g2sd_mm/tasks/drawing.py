"""Draw predictions or ground truth onto an image: what the tasks' own drawing is made of."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .task import Image, Task

Colour = tuple[int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
LEAST_SIDE = 320  # px; smaller pictures are enlarged, or their text could not be read


def class_colour(label: int) -> Colour:
    """A colour for a class number: neighbours lie far apart on the colour circle."""
    hue = (label * 0.61803) % 1.0  # golden ratio
    red, green, blue = (int(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.75, 0.95))
    return red, green, blue


@dataclass(frozen=True)
class Drawing:
    """How a sample is drawn.

    side: ``pred`` or ``gt``, the prefix of the sample's fields.
    scale: by which the image was enlarged.
    threshold: least score of a detection.
    legend: whether class names stand beside a segmentation.
    """

    side: str
    scale: int
    threshold: float
    legend: bool


def draw_sample(
    task: Task,
    image: Image,
    sample: Any,
    classes: Sequence[str],
    truth: bool = False,
    threshold: float = 0.3,
    legend: bool = True,
    least_side: int = LEAST_SIDE,
) -> Image:
    """Draw a data sample of a task's library.

    Args:
        task: whose sample it is.
        image: the picture that the sample's coordinates refer to.
        sample: with predictions, or with annotations if ``truth``.
        classes: class names by number.
        truth: draw the annotations instead of the predictions.
        threshold: detections below this score are left out.
        legend: of the classes present, to the right of a segmentation.
        least_side: longest side in pixels to which smaller pictures are enlarged.

    Returns:
        a new image, enlarged if it is small.
    """
    scale = max(1, round(least_side / max(image.shape[:2])))
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    options = Drawing('gt' if truth else 'pred', scale, threshold, legend)
    return task.draw(image, sample, classes, options)


def write(
    image: Image, text: str, place: tuple[int, int], colour: Colour, outline: bool = True
) -> None:
    """Write onto an image, in place."""
    if outline:
        cv2.putText(image, text, place, _FONT, 0.45, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(image, text, place, _FONT, 0.4 if not outline else 0.45, colour, 1, cv2.LINE_AA)


class LabelPlaces:
    """Where names of boxes stand, so that they do not cover each other where there is room.

    Args:
        shape: height and width of the image, in pixels.
    """

    _HEIGHT = 14

    def __init__(self, shape: Sequence[int]) -> None:
        self._height, self._width = shape[0], shape[1]
        self._taken: list[tuple[int, int, int, int]] = []

    def write(self, image: Image, text: str, box: Sequence[int], colour: Colour) -> None:
        """A name on a ground of its box's colour, in place.

        Args:
            image: to draw on.
            text: the name.
            box: left, top, right, bottom, in pixels.
            colour: of the box.
        """
        (wide, _), _ = cv2.getTextSize(text, _FONT, 0.4, 1)
        left, top, right, bottom = box
        width, height = wide + 4, self._HEIGHT
        places = [
            (x, y)
            for y in (top - height, top, bottom - height, bottom, (top + bottom - height) // 2)
            for x in (left, right - width)
        ]
        inside = [
            (min(max(x, 0), max(self._width - width, 0)),
             min(max(y, 0), max(self._height - height, 0)))
            for x, y in places
        ]  # fmt: skip
        x, y = min(inside, key=lambda place: self._covered(place[0], place[1], width, height))
        self._taken.append((x, y, width, height))
        cv2.rectangle(image, (x, y), (x + width, y + height), colour, -1)
        dark = sum(colour) > 380
        ink = (0, 0, 0) if dark else (255, 255, 255)
        cv2.putText(image, text, (x + 2, y + height - 4), _FONT, 0.4, ink, 1, cv2.LINE_AA)

    def _covered(self, x: int, y: int, width: int, height: int) -> int:
        """Pixels of earlier names below a new one."""
        return sum(
            max(0, min(x + width, a + w) - max(x, a)) * max(0, min(y + height, b + h) - max(y, b))
            for a, b, w, h in self._taken
        )


def write_png(path: Path, values: np.ndarray) -> None:
    """Values of 8 or 16 bits [height, width] as PNG.

    Raises:
        OSError: if it cannot be written.
    """
    _, content = cv2.imencode('.png', values)
    path.write_bytes(content.tobytes())  # OpenCV cannot open each name: one that is no UTF-8


def as_numpy(values: Any) -> np.ndarray:
    """A tensor or array as NumPy's."""
    return values.detach().cpu().numpy() if hasattr(values, 'detach') else np.asarray(values)
