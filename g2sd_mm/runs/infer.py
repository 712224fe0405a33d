"""Predict images with a trained student: JSON and drawn pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mmcv

import g2sd_mm

from ..config.load import load_config
from ..students.load import student_of
from ..students.student import check_image
from ..threads import use_threads
from .processes import best_device


def infer(
    config: str,
    checkpoint: str,
    images: list[str],
    out_dir: str,
    options: dict[str, Any] | None = None,
    threshold: float = 0.3,
    device: str | None = None,
    legend: bool = True,
    files: bool = True,
) -> list[dict[str, Any]]:
    """Predict on images one by one; the function behind the command.

    Args are the command's; ``legend`` stands beside segmentations and depth, and ``files``
    are those of maps.

    Returns:
        one plain dict for each image, as written to ``predictions.json``: ``image`` and ``scores``
        by class name, or ``instances`` (``class``, ``score``, ``box`` as left, top, right, bottom
        in pixels, ``mask`` as COCO run lengths), or ``classes`` present with their share of pixels,
        or ``depth`` in metres, and ``depth_files`` with the names of the map's files.

    Raises:
        UserError: if an image is missing or cannot be read.
        CheckpointError: if the weights do not fit the config.
    """
    g2sd_mm.register_all()
    for image in images:  # a wrong path is told before the work
        check_image(image)
    device = device or best_device()
    student = student_of(load_config(config, options), checkpoint, config).to(device)
    if device == 'cpu':
        use_threads(sum(parameter.numel() for parameter in student.parameters()))
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    predictions = []
    for number, path in enumerate(images):
        sample = student.sample(path)
        plain = student.plain(sample, threshold)
        place = folder / f'{number:04d}_{Path(path).stem}'
        written = student.files(sample, place) if files else {}
        predictions.append({'image': path, **plain, **written})
        drawn = student.draw(student.picture(path), sample, threshold=threshold, legend=legend)
        mmcv.imwrite(mmcv.rgb2bgr(drawn), f'{place}.jpg')
    (folder / 'predictions.json').write_text(json.dumps(predictions, indent=2))
    return predictions
