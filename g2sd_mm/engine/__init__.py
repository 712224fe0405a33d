"""What training needs beside models and data: parameter groups, schedules and hooks."""

from .autocast import AutocastOptimWrapper
from .hooks import (
    CompileHook,
    DivergenceHook,
    DrawPredictionsHook,
    DryRunHook,
    LossWarmupHook,
    MetricsHook,
    NonFiniteHook,
    PreemptionHook,
    ResumeHook,
    SampleErrorHook,
    StepSeedHook,
    StrictLoadingHook,
    TeacherGuardHook,
    ThroughputHook,
    WeightsExportHook,
    WholeCheckpointHook,
)
from .layer_decay import ViTLayerDecayConstructor
from .loops import ResumableEpochLoop, ResumableIterLoop
from .norm import sync_batch_norm
from .schedules import WarmupCosineLR, WarmupMultiStepLR, WarmupPolyLR
from .sharding import ShardedDataParallel, ShardedRunner

__all__ = [
    'AutocastOptimWrapper',
    'CompileHook',
    'DivergenceHook',
    'DrawPredictionsHook',
    'DryRunHook',
    'LossWarmupHook',
    'MetricsHook',
    'NonFiniteHook',
    'PreemptionHook',
    'ResumableEpochLoop',
    'ResumableIterLoop',
    'ResumeHook',
    'SampleErrorHook',
    'ShardedDataParallel',
    'ShardedRunner',
    'StepSeedHook',
    'StrictLoadingHook',
    'TeacherGuardHook',
    'ThroughputHook',
    'ViTLayerDecayConstructor',
    'WarmupCosineLR',
    'WarmupMultiStepLR',
    'WarmupPolyLR',
    'WeightsExportHook',
    'WholeCheckpointHook',
    'sync_batch_norm',
]
