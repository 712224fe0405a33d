"""Compare an exported file with the network that it was made of: outputs, and accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

    Args:
        network: takes images [B, channels, height, width].
        run: the exported file as a function.
        size: side of the images in pixels, or their height and width.
        names: of the outputs.
        channels: of the images.

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


Classify = Callable[[Tensor], Tensor]


@torch.no_grad()
def top1(student: Student, cfg: Config, classifiers: Mapping[str, Classify]) -> dict[str, float]:
    """Percent of the test images whose most likely class is right, for several classifiers at once.

    Args:
        student: prepares the images.
        cfg: config with ``test_dataloader``.
        classifiers: name -> normalised images [B, 3, height, width] to logits [B, classes].

    Returns:
        accuracy by name, 0 to 100.
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
