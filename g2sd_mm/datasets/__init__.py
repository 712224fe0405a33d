"""Data: the embedded Shapes set, and reading any set so that a run can be repeated exactly."""

from .checks import CheckListedSize, CheckMasks
from .cropping import DecodingPreprocessor, LoadRandomResizedCrop, SplitPlanes
from .packed import PackedBackend
from .seeded import SampleKey, SeededDataset, SeededSampler, patient_worker

__all__ = [
    'CheckListedSize',
    'CheckMasks',
    'DecodingPreprocessor',
    'LoadRandomResizedCrop',
    'PackedBackend',
    'SampleKey',
    'SeededDataset',
    'SeededSampler',
    'SplitPlanes',
    'patient_worker',
]
