"""Data: the embedded Shapes set, and reading any set so that a run can be repeated exactly."""

from .masks import CheckMasks
from .seeded import SampleKey, SeededDataset, SeededSampler

__all__ = ['CheckMasks', 'SampleKey', 'SeededDataset', 'SeededSampler']
