"""What training needs beside models and data: parameter groups, schedules and hooks."""

from .hooks.compile import CompileHook
from .hooks.dry_run import DryRunHook
from .hooks.export import WeightsExportHook
from .hooks.metrics import MetricsHook
from .hooks.non_finite import NonFiniteHook
from .hooks.reporting import (
    DivergenceHook,
    DrawPredictionsHook,
    SampleErrorHook,
    ThroughputHook,
)
from .hooks.resuming import ResumeHook, StepSeedHook, StrictLoadingHook
from .hooks.saving import PreemptionHook, WholeCheckpointHook
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
]
