"""Hooks of every run, one idea a file."""

from .agreement import AgreementHook
from .compile import CompileHook
from .data_notes import DataNotesHook
from .divergence import DivergenceHook
from .drawing import DrawPredictionsHook
from .dry_run import DryRunHook
from .export import WeightsExportHook
from .guard import TeacherGuardHook
from .loading import StrictLoadingHook
from .metrics import MetricsHook
from .non_finite import NonFiniteHook
from .preemption import PreemptionHook
from .resuming import ResumeHook
from .samples import SampleErrorHook
from .saving import WholeCheckpointHook
from .seeding import StepSeedHook
from .throughput import ThroughputHook
from .warmup import LossWarmupHook

__all__ = [
    'AgreementHook',
    'CompileHook',
    'DataNotesHook',
    'DivergenceHook',
    'DrawPredictionsHook',
    'DryRunHook',
    'LossWarmupHook',
    'MetricsHook',
    'NonFiniteHook',
    'PreemptionHook',
    'ResumeHook',
    'SampleErrorHook',
    'StepSeedHook',
    'StrictLoadingHook',
    'TeacherGuardHook',
    'ThroughputHook',
    'WeightsExportHook',
    'WholeCheckpointHook',
]
