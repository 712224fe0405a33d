"""Hooks of every run, one idea a file."""

from .export import WeightsExportHook
from .guard import TeacherGuardHook
from .samples import SampleErrorHook
from .seeding import StepSeedHook
from .warmup import LossWarmupHook

__all__ = [
    'LossWarmupHook',
    'SampleErrorHook',
    'StepSeedHook',
    'TeacherGuardHook',
    'WeightsExportHook',
]
