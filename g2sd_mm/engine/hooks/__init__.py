"""Hooks of every run, one idea a file."""

from .drawing import DrawPredictionsHook
from .export import WeightsExportHook
from .guard import TeacherGuardHook
from .loading import StrictLoadingHook
from .samples import SampleErrorHook
from .seeding import StepSeedHook
from .throughput import ThroughputHook
from .warmup import LossWarmupHook

__all__ = [
    'DrawPredictionsHook',
    'LossWarmupHook',
    'SampleErrorHook',
    'StepSeedHook',
    'StrictLoadingHook',
    'TeacherGuardHook',
    'ThroughputHook',
    'WeightsExportHook',
]
