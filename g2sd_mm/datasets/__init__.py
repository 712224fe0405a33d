"""Data: the embedded Shapes set, and reading any set so that a run can be repeated exactly."""

from .seeded import SampleKey, SeededDataset, SeededSampler

__all__ = ['SampleKey', 'SeededDataset', 'SeededSampler']
