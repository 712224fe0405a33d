"""Depth from one image with mmseg: its ``DepthEstimator`` and ``DepthMetric``.

Depth is in metres, along the camera's axis. In the paper there is no such task.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch.nn.functional as F
from torch import Tensor

from .drawing import Drawing, as_numpy, write, write_png
from .task import Backbone, Features, Image, Metric, Task

#: What a depth map's PNG has for a metre; the 16 bits end at 65.535 m.
MILLIMETRES = 1000
_FARTHEST_PNG = (2**16 - 1) / MILLIMETRES
_COLOURS = cv2.COLORMAP_TURBO
_BAR, _PANEL = 14, 86  # px: width of the colour bar, and of the panel that it stands on


class DepthNetwork(Features):
    """With the decode head: metres [B, 1, height, width] at the images' size."""

    output = 'depth'

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.decode_head = model.decode_head

    def forward(self, images: Tensor) -> Tensor:
        """Depth, resized as mmseg does to predict."""
        depth = self.decode_head(self.features(images))
        corners = self.decode_head.align_corners
        return F.interpolate(depth, images.shape[2:], mode='bilinear', align_corners=corners)


def plain(sample: Any, classes: Sequence[str], threshold: float) -> dict[str, Any]:
    """``depth``: metres of the nearest, the median and the farthest pixel."""
    metres = predicted(sample)
    named = {'nearest': metres.min(), 'median': np.median(metres), 'farthest': metres.max()}
    return {'depth': {name: round(float(value), 3) for name, value in named.items()}}


def predicted(sample: Any) -> np.ndarray:
    """The predicted map, float32 [height, width], metres."""
    return as_numpy(sample.pred_depth_map.data).squeeze(0).astype(np.float32)


def files(sample: Any, path: Path, threshold: float) -> dict[str, Any]:
    """Write ``<path>_depth.npy`` (metres, float32) and ``<path>_depth.png`` (16 bits, millimetres).

    What is farther than 65.535 m does not fit into the PNG and is 0 there, which means unknown.
    """
    metres = predicted(sample)
    array, picture = (path.with_name(f'{path.name}_depth{end}') for end in ('.npy', '.png'))
    np.save(array, metres)
    counted = np.where(metres <= _FARTHEST_PNG, np.rint(metres * MILLIMETRES), 0)
    write_png(picture, counted.astype(np.uint16))
    return {'depth_files': [array.name, picture.name]}


def draw(image: Image, sample: Any, classes: Sequence[str], options: Drawing) -> Image:
    """The map in colours, near to far, with a bar in metres; unknown pixels are black.

    The bar stands beside the map, or on its lower edge where pictures keep their size. It begins at
    0 and ends at the first of 1, 2, 5, 10, ... metres that 99 of 100 pixels do not exceed.
    """
    metres = as_numpy(sample.get(f'{options.side}_depth_map').data).squeeze()
    height, width = image.shape[:2]
    metres = cv2.resize(
        metres.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST
    )
    known = metres > 0
    end = bar_end(metres[known])
    coloured = _colours(metres / end)
    coloured[~known] = 0
    if options.legend:
        return np.hstack([coloured, _panel(height, end)])
    return _with_bar(coloured, end)


def bar_end(metres: np.ndarray) -> float:
    """The first of ..., 1, 2, 5, 10, ... that 99 of 100 values do not exceed; 1 without any."""
    if not metres.size:
        return 1.0
    most = float(np.quantile(metres, 0.99))
    step = 10.0 ** math.floor(math.log10(max(most, 1e-3)))
    return next(step * factor for factor in (1, 2, 5, 10) if most <= step * factor * (1 + 1e-6))


def _colours(shares: np.ndarray) -> Image:
    """0 (near) to 1 (far) as RGB."""
    levels = np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(levels, _COLOURS)[..., ::-1])


def _marks(end: float) -> Iterator[tuple[float, str]]:
    for share in (0.0, 0.5, 1.0):
        yield share, f'{share * end:g} m'


def _panel(height: int, end: float) -> Image:
    """White panel with the bar, 0 at its foot."""
    panel = np.full((height, _PANEL, 3), 255, np.uint8)
    top, foot = 10, height - 10
    ramp = np.linspace(1, 0, foot - top)[:, None].repeat(_BAR, 1)
    panel[top:foot, 8 : 8 + _BAR] = _colours(ramp)
    for share, text in _marks(end):
        y = round(foot - share * (foot - top)) + 4
        write(panel, text, (14 + _BAR, y), (0, 0, 0), outline=False)
    return panel


def _with_bar(image: Image, end: float) -> Image:
    """The bar on the lower edge of a picture, which keeps its size."""
    height, width = image.shape[:2]
    left, right, top = 8, width - 8, height - 12
    image[top - 2 : height - 2, left - 2 : right + 2] = 0
    image[top : height - 4, left:right] = _colours(np.linspace(0, 1, right - left))[:, 0]
    for share, text in _marks(end):
        x = round(left + share * (right - left) - share * 40)
        write(image, text, (x, top - 6), (255, 255, 255))
    return image


TASK = Task(
    key='depth',
    name='depth',
    title='Depth',
    scope='mmseg',
    model_types=('DepthEstimator',),
    head='depth',
    metrics=(
        Metric('abs_rel', 'abs_rel', 100, lower_is_better=True),
        Metric('rmse', 'rmse', unit='m', lower_is_better=True),
        Metric('delta1', 'd1', 100),
        Metric('delta2', 'd2', 100),
        Metric('delta3', 'd3', 100),
        Metric('silog', 'silog', 100, lower_is_better=True),
        Metric('log10', 'log10', unit='', lower_is_better=True),
    ),
    best_by=('abs_rel',),
    parts={'depth': DepthNetwork, 'backbone': Backbone},
    plain=plain,
    draw=draw,
    files=files,
    place=3,
)
