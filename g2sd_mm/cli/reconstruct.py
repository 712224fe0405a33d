"""Write pictures of masked images and of what stage 1 makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import mmcv
import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor

from ..agreement.inputs import channel_order
from ..bench.analysis.reconstruction import load_pair, reconstruct
from ..bench.analysis.samples import square_samples
from ..config.parts import preprocessor_of

_IMAGES = 256
_SMALL = [cv2.IMWRITE_PNG_COMPRESSION, 9]


def reconstruct_images(
    cfg: Config,
    checkpoint: Path,
    data: Config,
    number: int,
    folder: Path,
    device: str = 'cpu',
    images: int | None = None,
) -> dict[str, Any]:
    """Reconstruct the first, evenly taken test images; writes ``folder/<what>/<number>.png``.

    Args:
        cfg, checkpoint: of a stage-1 run, as
            :func:`~g2sd_mm.bench.analysis.reconstruction.load_pair` takes them.
        data: config with the images.
        number: of pictures; there are not more than images.
        folder: for the pictures: ``input``, ``masked``, ``student`` and ``teacher``. Those of
            before go.
        device: where to compute.
        images: over which the losses are taken; None: 256, and one for each picture.

    Returns:
        the losses of :func:`~g2sd_mm.bench.analysis.reconstruction.reconstruct`, over these images
        or as many as there are, and how the pictures came about.
    """
    pair = load_pair(cfg, checkpoint)
    pair.distiller.to(device)
    pair.teacher.to(device)
    size = pair.teacher.img_size
    preprocessor: Any = pair.distiller.data_preprocessor
    mean, std = preprocessor.mean, preprocessor.std  # [3, 1, 1]
    channels = channel_order(preprocessor_of(cfg))
    asked = images or max(number, _IMAGES)
    squares = square_samples(data, asked, size, channels).images.to(device)
    found = reconstruct(pair, (squares.float() - mean) / std)
    # the same images again, of which the pictures are evenly taken
    shown = torch.linspace(0, len(squares) - 1, min(number, len(squares))).round().long()
    for what, pictures in found['pictures'].items():
        (folder / what).mkdir(parents=True, exist_ok=True)
        for file in (folder / what).glob('[0-9]*.png'):
            file.unlink()
        for i, picture in enumerate(pictures[shown.to(device)] * std + mean):
            mmcv.imwrite(_pixels(picture, channels), str(folder / what / f'{i:04d}.png'), _SMALL)
    return {
        'checkpoint': str(checkpoint),
        'images': len(squares),
        'pictures': len(shown),
        'mask_ratio': pair.distiller.student.mask_ratio,
        'target_block': pair.target_block,
        'losses': found['losses'],
    }


def _pixels(image: Tensor, channels: str | None) -> np.ndarray:
    """Values of 0 to 255 [3, side, side] -> pixels [side, side, 3], BGR.

    In their own size: a report enlarges them.
    """
    pixels = image.round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(pixels if channels == 'BGR' else pixels[..., ::-1])
