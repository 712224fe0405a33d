"""Compare an exported detector with mmdet's own prediction, detection by detection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .check import TOLERANCE, ExportError, random_images
from .formats import Runner, as_list

#: How many images are compared, one at a time.
IMAGES = 20
#: Share of the detections that may be missing or new. Where two scores, or an overlap and its
#: limit, agree to the last bits, PyTorch and onnxruntime may choose differently, and both rightly.
_TIES = 0.01


@torch.no_grad()
def compare_detector(
    model: Any, network: Any, run: Runner, shape: Sequence[int]
) -> dict[str, Any]:
    """Run both on the same images: noise, and patches of one colour, some smaller than the input.

    The file is compared with what mmdet predicts, which uses nothing of ``network``. So that there
    is something to compare, as many of the best detections are asked for as the config allows,
    whatever their scores. (A raw file is compared with the network that it was made of.)

    Args:
        model: mmdet's detector.
        network: the one that was exported.
        run: the exported file as a function.
        shape: channels, height and width of the file's images.

    Returns:
        ``images``, ``detections``, ``unmatched`` (those of one side alone), ``tolerance``, and
        ``difference`` by output: of boxes as a share of the image, of scores and masks as it is.

    Raises:
        ExportError: if a mask differs, or more than one detection in a hundred has none that agrees
            with it on the other side.
    """
    names: list[str] = list(network.output_names)
    worst = dict.fromkeys((name for name in names if name != 'labels'), 0.0)
    number = lost = 0
    for images, size in _images(shape):
        sides = torch.tensor(size, dtype=torch.float32)
        if 'labels' in names:
            expected = _predict(model, images, size)
            least = expected['scores'].min() if len(expected['scores']) else torch.tensor(1.0)
            outputs = run(images, sides, least.reshape(1) * (1 - TOLERANCE))
        else:
            expected = dict(zip(names, as_list(network(images, sides)), strict=True))
            outputs = run(images, sides)
        found = dict(zip(names, outputs, strict=True))
        for side in (expected, found):
            side['boxes'] = side['boxes'] / max(shape)
        apart = torch.cdist(_rows(expected), _rows(found), p=torch.inf)
        near = apart <= TOLERANCE
        number += len(apart)
        lost += int((~near.any(dim=1)).sum() + (~near.any(dim=0)).sum())
        here = near.any(dim=1).nonzero()[:, 0]
        if len(here):
            there = apart[here].argmin(dim=1)
            for name in worst:
                difference = (expected[name][here] - found[name][there]).abs().max().item()
                worst[name] = max(worst[name], difference)
    if number == 0 or lost > _TIES * number or not max(worst.values()) <= TOLERANCE:
        differ = ', '.join(f'{name} by {value:.1e}' for name, value in worst.items())
        raise ExportError(
            f'of {number} detections in {IMAGES} images, {lost} are on one side alone, the others '
            f'differ in {differ} (allowed: {TOLERANCE:.0e}): the file is wrong'
        )
    return {
        'images': IMAGES,
        'detections': number,
        'unmatched': lost,
        'tolerance': TOLERANCE,
        'difference': worst,
    }


def _images(shape: Sequence[int]) -> Iterator[tuple[Tensor, tuple[int, int]]]:
    """Images [1, C, height, width] and the height and width that each fills; the rest is 0."""
    channels, height, width = shape
    for number in range(IMAGES):
        rows, columns = ((height, width), (height * 3 // 4, width), (height, width * 2 // 3))[
            number % 3
        ]
        image = random_images(1, (height, width), number, channels, grain=number % 2)
        image[:, :, rows:], image[..., columns:] = 0, 0
        yield image, (rows, columns)


def _predict(model: Any, images: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
    """mmdet's detections of an image with any score, in the pixels of the input."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.bbox import bbox2roi

    head = model.roi_head
    meta = dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0))
    maps = model.extract_feat(images)
    proposals = model.rpn_head.predict(maps, [DetDataSample(metainfo=meta)], rescale=False)
    cfg = head.test_cfg.copy()
    cfg.score_thr = 0.0
    (found,) = head.predict_bbox(maps, [meta], proposals, cfg, rescale=False)
    detected = {'boxes': found.bboxes, 'scores': found.scores, 'labels': found.labels}
    if not head.with_mask:
        return detected
    masks = found.bboxes.new_zeros(0, 1, 1)  # of no detection: nobody looks at it
    if len(found):
        masks = head._mask_forward(maps, bbox2roi([found.bboxes]))['mask_preds'].sigmoid()
        which = found.labels * (not head.mask_head.class_agnostic)
        masks = masks[torch.arange(len(found)), which]
    return {**detected, 'masks': masks}


def _rows(found: Mapping[str, Tensor]) -> Tensor:
    """A row of numbers for each detection: box, score and label."""
    parts = [found[name].float() for name in ('boxes', 'scores', 'labels') if name in found]
    return torch.cat([part.reshape(len(part), -1) for part in parts], dim=1)
