"""Compare an exported file with the network that it was made of: outputs, and accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import Tensor, nn

from ..models.positions import height_and_width
from ..students.student import Student
from .formats import as_list

#: Largest difference allowed, as a share of the output's largest value. Rounding in float32 comes
#: to some 1e-6; a wrong operator to 1e-2 and more.
TOLERANCE = 1e-4
#: Batch sizes that are tried, 20 images: none is the size that the file was made with.
BATCHES = (1, 3) * 5
#: How many images a detector is compared on, one at a time.
IMAGES = 20
#: Share of the detections that may be missing or new. Where two scores, or an overlap and its
#: limit, agree to the last bits, PyTorch and onnxruntime may choose differently, and both rightly.
_TIES = 0.01


class ExportError(RuntimeError):
    """The file computes something else than the network; it must not be used."""


def random_images(
    batch: int, size: int | tuple[int, int], seed: int = 0, channels: int = 3, grain: int = 0
) -> Tensor:
    """Normal noise [batch, channels, height, width], what normalised images are like.

    ``size``: side in pixels, or height and width. With ``grain``, 8 x 8 patches of one colour.
    """
    height, width = height_and_width(size)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(batch, channels, height, width, generator=generator)
    if not grain:
        return noise
    # not quite plain: where places are equal, a detector's scores are, and any order is right
    colours = torch.randn(batch, channels, 8, 8, generator=generator)
    return F.interpolate(colours, (height, width), mode='nearest') + 0.1 * noise


@torch.no_grad()
def compare(
    network: nn.Module,
    run: Callable[[Tensor], list[Tensor]],
    size: int | tuple[int, int],
    names: Sequence[str],
    channels: int = 3,
) -> dict[str, Any]:
    """Run both on the same images, for several batch sizes: noise, and patches of one colour.

    Returns:
        ``images``, ``batches``, ``tolerance``, and ``difference``: by output, the largest one as a
        share of its largest value.

    Raises:
        ExportError: if an output differs by more than the tolerance, or has another shape.
    """
    worst = dict.fromkeys(names, 0.0)
    for seed, batch in enumerate(BATCHES):
        images = random_images(batch, size, seed, channels, grain=seed // 2 % 2)
        pairs = zip(names, as_list(network(images)), run(images), strict=True)
        for name, expected, got in pairs:
            if expected.shape != got.shape:
                raise ExportError(
                    f'output {name} has the shape {list(got.shape)}, expected '
                    f'{list(expected.shape)}: the file is wrong'
                )
            scale = expected.abs().max().clamp(min=1e-12)
            share = ((got - expected).abs().max() / scale).item()
            if not share <= TOLERANCE:  # nan too
                raise ExportError(
                    f'output {name} differs by {share:.1e} of its largest value (allowed: '
                    f'{TOLERANCE:.0e}): the file is wrong'
                )
            worst[name] = max(worst[name], share)
    return {
        'images': sum(BATCHES),
        'batches': sorted(set(BATCHES)),
        'tolerance': TOLERANCE,
        'difference': worst,
    }


@torch.no_grad()
def compare_detector(
    model: Any, network: Any, run: Callable[..., list[Tensor]], shape: Sequence[int]
) -> dict[str, Any]:
    """Run both on the same images: noise, and patches of one colour, some smaller than the input.

    The file is compared with what mmdet predicts, which uses nothing of ``network``. So that there
    is something to compare, as many of the best detections are asked for as the config allows,
    whatever their scores. (A raw file is compared with the network that it was made of.)

    Args:
        model: mmdet's detector, of which ``network`` was exported, and ``run`` is the file.
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


Classify = Callable[[Tensor], Tensor]


@torch.no_grad()
def top1(student: Student, cfg: Config, classifiers: Mapping[str, Classify]) -> dict[str, float]:
    """Percent of a config's test images whose most likely class is right, by classifier.

    The student prepares the images; all classifiers take them normalised, and give logits.
    """
    right = dict.fromkeys(classifiers, 0)
    total = 0
    with DefaultScope.overwrite_default_scope(student.network['scope']):
        loader = Runner.build_dataloader(cfg.test_dataloader)
        for batch in loader:
            batch = student.model.data_preprocessor(batch)
            labels = torch.cat([sample.gt_label for sample in batch['data_samples']]).cpu()
            total += len(labels)
            for name, classify in classifiers.items():
                found = classify(batch['inputs'].cpu()).argmax(dim=1)
                right[name] += int((found == labels).sum())
    return {name: 100 * number / total for name, number in right.items()}
