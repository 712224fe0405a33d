"""Hooks of every run, one idea a file."""

from .compile import CompileHook
from .drawing import DrawPredictionsHook
from .export import WeightsExportHook
from .guard import TeacherGuardHook
from .loading import StrictLoadingHook
from .metrics import MetricsHook
from .samples import SampleErrorHook
from .seeding import StepSeedHook
from .throughput import ThroughputHook
from .warmup import LossWarmupHook

__all__ = [
    'CompileHook',
    'DrawPredictionsHook',
    'LossWarmupHook',
    'MetricsHook',
    'SampleErrorHook',
    'StepSeedHook',
    'StrictLoadingHook',
    'TeacherGuardHook',
    'ThroughputHook',
    'WeightsExportHook',
]
