"""What training needs beside models and data: parameter groups, schedules and hooks."""

from .autocast import AutocastOptimWrapper
from .hooks import LossWarmupHook, SampleErrorHook, StepSeedHook, TeacherGuardHook, WeightsExportHook
from .layer_decay import ViTLayerDecayConstructor
from .schedules import WarmupCosineLR, WarmupMultiStepLR, WarmupPolyLR

__all__ = [
    'AutocastOptimWrapper',
    'LossWarmupHook',
    'SampleErrorHook',
    'StepSeedHook',
    'TeacherGuardHook',
    'ViTLayerDecayConstructor',
    'WarmupCosineLR',
    'WarmupMultiStepLR',
    'WarmupPolyLR',
    'WeightsExportHook',
]
