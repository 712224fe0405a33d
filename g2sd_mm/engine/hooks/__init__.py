"""Hooks of every run, one idea a file."""

from .divergence import DivergenceHook
from .drawing import DrawPredictionsHook
from .export import WeightsExportHook
from .guard import TeacherGuardHook
from .loading import StrictLoadingHook
from .non_finite import NonFiniteHook
from .preemption import PreemptionHook
from .resuming import ResumeHook
from .samples import SampleErrorHook
from .saving import WholeCheckpointHook
from .seeding import StepSeedHook
from .warmup import LossWarmupHook

__all__ = [
    'DivergenceHook',
    'DrawPredictionsHook',
    'LossWarmupHook',
    'NonFiniteHook',
    'PreemptionHook',
    'ResumeHook',
    'SampleErrorHook',
    'StepSeedHook',
    'StrictLoadingHook',
    'TeacherGuardHook',
    'WeightsExportHook',
    'WholeCheckpointHook',
]
