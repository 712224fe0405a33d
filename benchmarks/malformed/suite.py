"""All cases, at two sizes."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import torch

import g2sd_mm

from .annotations import annotation_cases
from .case import Case
from .checkpoints import beside_cases, checkpoint_cases
from .images import image_cases, mask_cases
from .options import option_cases


def prepare() -> None:
    """Import once what every case would import again, and write compiled code for."""
    torch.set_num_threads(1)
    g2sd_mm.register_all()
    for scope in ('mmpretrain', 'mmdet', 'mmseg'):
        importlib.import_module(f'{scope}.utils').register_all_modules(init_default_scope=False)
    for module in ('datasets.coco', 'datasets.mixing', 'models.heads', 'models.instance_tta'):
        importlib.import_module(f'g2sd_mm.{module}')


def quick_cases() -> list[Case]:
    """Some of everything, for every run of the tests."""
    return [*_cases(small=True)]


def all_cases() -> list[Case]:
    """Everything."""
    return [*_cases(small=False)]


def _cases(small: bool) -> Iterator[Case]:
    yield from image_cases(1 if small else 16)
    yield from mask_cases(1 if small else 16)
    yield from annotation_cases(*((5, 2) if small else (76, 31)))
    yield from checkpoint_cases(*((1, 4) if small else (31, 68)))
    yield from beside_cases(3 if small else 41)
    yield from option_cases(8 if small else 136)
