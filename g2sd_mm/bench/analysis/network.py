"""Ask networks: normalise images, run them in batches, tap their blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ...distill.taps import Taps
from ...errors import UserError
from ...models.backbones.base import Backbone
from ...students.student import Student

#: Networks by name, the teacher first. All are asked about images uint8 [N, 3, height, width]; what
#: these show is int64 [N].
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


def accuracy(scores: Tensor, labels: Tensor) -> float:
    """Percent of images whose highest score is that of their label."""
    return 100 * (scores.argmax(dim=1) == labels).double().mean().item()


@torch.no_grad()
def logits(student: Student, images: Tensor, advance: Advance = nothing) -> Tensor:
    """Class scores of uint8 images [N, 3, height, width]: [N, classes] on the CPU."""
    outputs = []
    for part in images.split(BATCH):
        outputs.append(student(normalised(student, part)).cpu())
        advance(len(part))
    return torch.cat(outputs)


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


def block_taps(backbone: Any, part: str = '') -> Taps:
    """Listens to the blocks that run, [B, tokens, D] each: their outputs, or ``part`` of them."""
    outputs = getattr(backbone, 'out_indices', [len(backbone.blocks) - 1])  # of a segmentor
    return Taps(backbone, {str(i): f'blocks.{i}{part}' for i in range(max(outputs) + 1)})


def patch_tokens(tokens: Tensor, number: int) -> slice:
    """Where the ``number`` patch tokens stand in a sequence [B, tokens, D]: after the class token.

    Detection backbones have no class token; a distillation token stands last.
    """
    first = 0 if tokens.shape[1] == number else 1
    return slice(first, first + number)
