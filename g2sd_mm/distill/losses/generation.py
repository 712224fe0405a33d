"""Losses that let a student generate what the teacher has where its own features are hidden.

Their convolutions train with the student and are not in its weights file.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from ...errors import UserError


def squared_error_per_image(student: Tensor, teacher: Tensor) -> Tensor:
    """Sum over all elements of the squared difference, divided by the images [B, ...]."""
    return (student - teacher).square().sum() / len(student)


def _generation(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1),
    )  # fmt: skip


@MODELS.register_module()
class MaskedGenerationLoss(nn.Module):
    """Masked generative distillation (MGD, Yang et al., ECCV 2022) of maps.

    The student's map, brought to the teacher's channels by a 1x1 convolution where they differ, is
    set to zero in a random share of its places; two 3x3 convolutions with a ReLU between them
    generate the teacher's from the rest. The loss is :func:`squared_error_per_image` of all places,
    summed over the levels, of which each has convolutions of its own.

    Args:
        channels: of the teacher's maps.
        student_channels: of the student's; None for the same.
        levels: of a pyramid; 1 for a single map.
        mask_ratio: probability of hiding a place (published: 0.45 and a weight of 5e-7 for
            two-stage detectors, 0.65 and 2e-5 for others, 0.75 and 2e-5 for segmentation).
        loss_weight: factor on the result.
    """

    def __init__(
        self,
        channels: int,
        student_channels: int | None = None,
        levels: int = 1,
        mask_ratio: float = 0.65,
        loss_weight: float = 2e-5,
    ) -> None:
        super().__init__()
        own = student_channels or channels
        self.align = nn.ModuleList(
            nn.Conv2d(own, channels, 1) if own != channels else nn.Identity()
            for _ in range(levels)
        )
        self.generate = nn.ModuleList(_generation(channels) for _ in range(levels))
        self.mask_ratio, self.loss_weight = mask_ratio, loss_weight

    def forward(
        self, student: Tensor | Sequence[Tensor], teacher: Tensor | Sequence[Tensor]
    ) -> Tensor:
        """Maps [B, C, h, w], one or one a level -> scalar.

        Raises:
            UserError: if there are other numbers of levels, or a level's maps differ in size.
        """
        sides = [[side] if isinstance(side, Tensor) else list(side) for side in (student, teacher)]
        shapes = [[(len(level), *level.shape[2:]) for level in side] for side in sides]
        if shapes[0] != shapes[1] or len(sides[0]) != len(self.generate):
            raise UserError(
                f'MaskedGenerationLoss.levels={len(self.generate)}, and the taps hear maps of '
                f'(images, rows, columns) {shapes[0]} of the student and {shapes[1]} of the teacher'
            )
        values = []
        for own, other, align, generate in zip(*sides, self.align, self.generate, strict=True):
            noise = torch.rand(len(own), 1, *own.shape[2:], device=own.device)
            visible = (noise >= self.mask_ratio).to(own.dtype)
            values.append(squared_error_per_image(generate(align(own) * visible), other))
        return self.loss_weight * torch.stack(values).sum()


@MODELS.register_module()
class ViTKDLoss(nn.Module):
    """ViTKD (Yang et al. 2022): the first two layers are imitated, the last one is generated.

    ``alpha sum_{l < 2} |W_l s_l - t_l| ** 2 + beta / ratio |mask (G(masked W s) - t)| ** 2``, both
    by :func:`squared_error_per_image`: hidden patches of the student's last layer are replaced by a
    learnt token, two 3x3 convolutions generate the teacher's patches, and hidden ones are compared.

    Args:
        channels: of the teacher's tokens.
        student_channels: of the student's.
        mask_ratio: share of the patches of an image that is hidden.
        alpha, beta: weights of the two terms.
        loss_weight: factor on the result.
    """

    def __init__(
        self,
        channels: int,
        student_channels: int,
        mask_ratio: float = 0.5,
        alpha: float = 3e-5,
        beta: float = 3e-6,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.imitate = nn.ModuleList(nn.Linear(student_channels, channels) for _ in range(2))
        self.align = nn.Linear(student_channels, channels)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, channels))
        self.generate = _generation(channels)
        self.mask_ratio, self.alpha, self.beta = mask_ratio, alpha, beta
        self.loss_weight = loss_weight

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """Per layer a class token and patches [B, 1 + N, .] of each network -> scalar.

        Raises:
            UserError: if the patches differ in number, or are no square.
        """
        own, other = (
            [layer[:, 1:] for layer in (*side[:2], side[-1])] for side in (student, teacher)
        )
        B, N, _ = own[-1].shape
        side = isqrt(N)
        if own[-1].shape[:2] != other[-1].shape[:2] or side**2 != N:
            raise UserError(
                f'ViTKDLoss compares {N} patches of the student with {other[-1].shape[1]} of the '
                'teacher: both need the same square of them, behind one class token'
            )
        low = [
            squared_error_per_image(imitate(x), y)
            for imitate, x, y in zip(self.imitate, own, other, strict=False)
        ]
        order = torch.rand(B, N, device=own[-1].device).argsort(dim=1).argsort(dim=1)
        mask = (order >= int(N * (1 - self.mask_ratio))).unsqueeze(-1).to(own[-1].dtype)
        x = self.align(own[-1]) * (1 - mask) + self.mask_token * mask
        x = self.generate(x.transpose(1, 2).unflatten(2, (side, side))).flatten(2).transpose(1, 2)
        high = squared_error_per_image(x * mask, other[-1] * mask)
        value = self.alpha * torch.stack(low).sum() + self.beta / self.mask_ratio * high
        return self.loss_weight * value
