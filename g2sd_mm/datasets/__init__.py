"""Data: the embedded Shapes set, and reading any set so that a run can be repeated exactly."""

from .cropping import LoadRandomResizedCrop
from .masks import CheckMasks
from .packed import PackedBackend
from .seeded import SampleKey, SeededDataset, SeededSampler

__all__ = [
    'CheckMasks',
    'LoadRandomResizedCrop',
    'PackedBackend',
    'SampleKey',
    'SeededDataset',
    'SeededSampler',
]
