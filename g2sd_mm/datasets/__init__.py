"""Data: the embedded Shapes set, and reading any set so that a run can be repeated exactly."""

from .masks import CheckMasks
from .seeded import SampleKey, SeededDataset, SeededSampler
from .workers import patient_worker

__all__ = ['CheckMasks', 'SampleKey', 'SeededDataset', 'SeededSampler', 'patient_worker']
