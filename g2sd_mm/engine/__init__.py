"""What training needs beside models and data: parameter groups, schedules and hooks."""

from ..config.parts import sync_batch_norm
from .hooks import (
    CompileHook,
    DivergenceHook,
    DrawPredictionsHook,
    DryRunHook,
    MetricsHook,
    NonFiniteHook,
    PreemptionHook,
    ResumeHook,
    SampleErrorHook,
    StepSeedHook,
    StrictLoadingHook,
    ThroughputHook,
    WeightsExportHook,
    WholeCheckpointHook,
)
from .loops import ResumableEpochLoop, ResumableIterLoop
from .optimizers import AutocastOptimWrapper, ViTLayerDecayConstructor
from .schedules import WarmupCosineLR, WarmupMultiStepLR, WarmupPolyLR
from .sharding import ShardedDataParallel, ShardedRunner

__all__ = [
    'AutocastOptimWrapper',
    'CompileHook',
    'DivergenceHook',
    'DrawPredictionsHook',
    'DryRunHook',
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
    'ThroughputHook',
    'ViTLayerDecayConstructor',
    'WarmupCosineLR',
    'WarmupMultiStepLR',
    'WarmupPolyLR',
    'WeightsExportHook',
    'WholeCheckpointHook',
    'sync_batch_norm',
]
