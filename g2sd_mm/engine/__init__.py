"""What training needs beside models and data: parameter groups, schedules and hooks."""

from .autocast import AutocastOptimWrapper
from .hooks import (
    DivergenceHook,
    DrawPredictionsHook,
    LossWarmupHook,
    NonFiniteHook,
    PreemptionHook,
    ResumeHook,
    SampleErrorHook,
    StepSeedHook,
    TeacherGuardHook,
    WeightsExportHook,
    WholeCheckpointHook,
)
from .layer_decay import ViTLayerDecayConstructor
from .loops import ResumableEpochLoop
from .norm import sync_batch_norm
from .schedules import WarmupCosineLR, WarmupMultiStepLR, WarmupPolyLR

__all__ = [
    'AutocastOptimWrapper',
    'DivergenceHook',
    'DrawPredictionsHook',
    'LossWarmupHook',
    'NonFiniteHook',
    'PreemptionHook',
    'ResumableEpochLoop',
    'ResumeHook',
    'SampleErrorHook',
    'StepSeedHook',
    'TeacherGuardHook',
    'ViTLayerDecayConstructor',
    'WarmupCosineLR',
    'WarmupMultiStepLR',
    'WarmupPolyLR',
    'WeightsExportHook',
    'WholeCheckpointHook',
    'sync_batch_norm',
]
