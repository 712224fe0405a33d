"""What a teacher of features needs around it: a student that sees images, and pictures."""

from __future__ import annotations

import numpy as np
import torch
from mmengine.model import ImgDataPreprocessor
from PIL import Image
from torch import Tensor, nn

MEAN, STD = [120.0, 110.0, 100.0], [50.0, 60.0, 70.0]  # nobody's


class SeeingStudent(nn.Module):
    """Has what a teacher asks a student: its preprocessor, the size of its images, its patches."""

    def __init__(
        self, size: int | None, patch: int | None, to_rgb: bool = True, mean: list | None = MEAN
    ) -> None:
        super().__init__()
        self.img_size, self.stride = size, patch
        std = None if mean is None else STD[: len(mean)]
        self.data_preprocessor = ImgDataPreprocessor(mean, std, bgr_to_rgb=to_rgb)

    def images(self, pictures: list[Image.Image]) -> Tensor:
        """Pictures, read as BGR as OpenCV does, as the student is given them."""
        arrays = [np.array(picture)[..., ::-1].copy() for picture in pictures]
        batch = torch.stack([torch.from_numpy(array).permute(2, 0, 1) for array in arrays])
        return self.data_preprocessor({'inputs': batch})['inputs']


def pictures(size: int, number: int = 2, seed: int = 0) -> list[Image.Image]:
    """Colourful noise on gradients, RGB."""
    generator = np.random.default_rng(seed)
    ramp = np.linspace(0, 120, size)[:, None, None] + np.linspace(0, 60, size)[None, :, None]
    return [
        Image.fromarray(
            (ramp * [1, 0.6, 0.2] + generator.uniform(0, 75, (size, size, 3))).astype(np.uint8)
        )
        for _ in range(number)
    ]


@torch.no_grad()
def randomised(network: nn.Module, scale: float = 0.1) -> nn.Module:
    """In evaluation mode, with noise on every parameter: zeros and tiny scales hide what is off."""
    for parameter in network.parameters():
        parameter.add_(scale * torch.randn_like(parameter))
    return network.eval()
