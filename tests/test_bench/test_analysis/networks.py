"""Students with random weights, and images for them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from g2sd_mm.students import Student, load_student

from ...helpers.students import student_folder

SIZE = {'classification': 56, 'detection': 128, 'segmentation': 64}


def student(folder: Path, task: str = 'classification', **options: object) -> Student:
    return load_student(student_folder(folder, task, **options))


def pictures(number: int = 8, size: int = 56, seed: int = 0) -> Tensor:
    """uint8 [number, 3, size, size]: a colour each, with noise."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randint(0, 256, (number, 3, 1, 1), generator=generator)
    noise = torch.randint(-60, 60, (number, 3, size, size), generator=generator)
    return (base + noise).clamp(0, 255).to(torch.uint8)
