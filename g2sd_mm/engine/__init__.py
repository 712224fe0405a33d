"""What training needs beside models and data: parameter groups, schedules and hooks."""

from .autocast import AutocastOptimWrapper
from .hooks import (
    CompileHook,
    DrawPredictionsHook,
    LossWarmupHook,
    MetricsHook,
    SampleErrorHook,
    StepSeedHook,
    TeacherGuardHook,
    WeightsExportHook,
)
from .layer_decay import ViTLayerDecayConstructor
from .norm import sync_batch_norm
from .schedules import WarmupCosineLR, WarmupMultiStepLR, WarmupPolyLR
from .sharding import ShardedDataParallel, ShardedRunner

__all__ = [
    'AutocastOptimWrapper',
    'CompileHook',
    'DrawPredictionsHook',
    'LossWarmupHook',
    'MetricsHook',
    'SampleErrorHook',
    'ShardedDataParallel',
    'ShardedRunner',
    'StepSeedHook',
    'TeacherGuardHook',
    'ViTLayerDecayConstructor',
    'WarmupCosineLR',
    'WarmupMultiStepLR',
    'WarmupPolyLR',
    'WeightsExportHook',
    'sync_batch_norm',
]
