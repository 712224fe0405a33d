"""Hooks of every run, one idea a file."""

from .agreement import AgreementHook
from .compile import CompileHook
from .data_notes import DataNotesHook
from .divergence import DivergenceHook
from .drawing import DrawPredictionsHook
from .dry_run import DryRunHook
from .export import WeightsExportHook
from .loading import StrictLoadingHook
from .metrics import MetricsHook
from .non_finite import NonFiniteHook
from .preemption import PreemptionHook
from .resuming import ResumeHook
from .samples import SampleErrorHook
from .saving import WholeCheckpointHook
from .seeding import StepSeedHook
from .throughput import ThroughputHook

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
