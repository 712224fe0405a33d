"""Ask networks: normalise images, run them in batches on the threads that pay, tap their blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ...distill.taps import Taps
from ...errors import UserError
from ...models.backbones.base import Backbone
from ...students.student import Student
from ...threads import SMALL

#: Networks by name, the teacher first.
Networks = Mapping[str, Student]
#: Told how many images a network has just seen.
Advance = Callable[[int], None]
BATCH = 50


def nothing(_: int) -> None:
    """Nobody wants to know how far it is."""


def normalised(student: Student, images: Tensor) -> Tensor:
    """uint8 [B, C, height, width] -> what ``student`` takes, float32 on its device."""
    device = next(student.parameters()).device
    mean, std = (
        torch.tensor(values, device=device).view(-1, 1, 1) for values in (student.mean, student.std)
    )
    return (images.to(device).float() - mean) / std


def known(values: list[float]) -> list[float | None]:
    """Figures for a file, which has no NaN: None in its place."""
    return [None if math.isnan(value) else value for value in values]


def batches(images: Tensor, size: int = BATCH) -> Iterator[slice]:
    """Slices of at most ``size`` images that cover ``images`` [N, ...]."""
    for start in range(0, len(images), size):
        yield slice(start, min(start + size, len(images)))


@torch.no_grad()
def logits(student: Student, images: Tensor, advance: Advance = nothing) -> Tensor:
    """Class scores of uint8 images [N, 3, height, width]: [N, classes] on the CPU."""
    outputs = []
    for part in batches(images):
        outputs.append(student(normalised(student, images[part])).cpu())
        advance(part.stop - part.start)
    return torch.cat(outputs)


def pooled(features: Any) -> Tensor:
    """What a classifier's backbone hands to its head, as one vector: [B, D] or [B, 2 D]."""
    (found,) = features
    return torch.cat(found, dim=1) if isinstance(found, tuple) else found


def transformer(student: Student, name: str) -> Backbone:
    """The project's ViT in a student.

    Raises:
        UserError: if its backbone is another library's.
    """
    backbone = student.model.backbone
    if not isinstance(backbone, Backbone):
        raise UserError(
            f'{name} has a {type(backbone).__name__}: this analysis looks into G2SDViT, '
            'G2SDViTDet and G2SDViTSeg; tools/checkpoint.py convert brings weights there'
        )
    return backbone


def block_taps(student: Student) -> Taps:
    """Listens to the outputs of the blocks that run, [B, tokens, D], named by their numbers."""
    backbone = student.model.backbone
    outputs = getattr(backbone, 'out_indices', [len(backbone.blocks) - 1])  # of a segmentor
    return Taps(backbone, {str(i): f'blocks.{i}' for i in range(max(outputs) + 1)})


def patch_tokens(tokens: Tensor, number: int) -> slice:
    """Where the ``number`` patch tokens stand in a sequence [B, tokens, D]: after the class token.

    Detection backbones have no class token; a distillation token stands last.
    """
    first = 0 if tokens.shape[1] == number else 1
    return slice(first, first + number)


@contextmanager
def enough_threads(networks: Networks) -> Iterator[None]:
    """Within the block torch computes on one thread if all backbones are small, else as it did.

    See :mod:`g2sd_mm.threads`.
    """
    sizes = [
        sum(parameter.numel() for parameter in network.model.backbone.parameters())
        for network in networks.values()
    ]
    before = torch.get_num_threads()
    torch.set_num_threads(1 if max(sizes, default=0) <= SMALL else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
