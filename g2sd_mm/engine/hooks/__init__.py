"""Hooks of every run, one idea a file."""

from .compile import CompileHook
from .dry_run import DryRunHook
from .export import WeightsExportHook
from .metrics import MetricsHook
from .non_finite import NonFiniteHook
from .preemption import PreemptionHook
from .reporting import (
    AgreementHook,
    DataNotesHook,
    DivergenceHook,
    DrawPredictionsHook,
    SampleErrorHook,
    ThroughputHook,
)
from .resuming import ResumeHook, StepSeedHook, StrictLoadingHook
from .saving import WholeCheckpointHook

__all__ = [
    'AgreementHook',
    'CompileHook',
    'DataNotesHook',
    'DivergenceHook',
    'DrawPredictionsHook',
    'DryRunHook',
    'MetricsHook',
    'NonFiniteHook',
    'PreemptionHook',
    'ResumeHook',
    'SampleErrorHook',
    'StepSeedHook',
    'StrictLoadingHook',
    'ThroughputHook',
    'WeightsExportHook',
    'WholeCheckpointHook',
]
