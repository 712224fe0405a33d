"""Distillation: frozen teachers, taps, losses, and one distiller. Knows no task library."""

from . import adapters
from .distillation import Distillation, SpecificDistiller
from .hooks import DistillationHook, LossWarmupHook, TeacherGuardHook, TeacherLabelsHook
from .students import MaskedStudent
from .taps import Taps
from .teacher_metric import TeacherMetricHook
from .teachers import ChainTeacher, Features, FrozenTeacher

__all__ = [
    'ChainTeacher',
    'Distillation',
    'DistillationHook',
    'Features',
    'FrozenTeacher',
    'LossWarmupHook',
    'MaskedStudent',
    'SpecificDistiller',
    'Taps',
    'TeacherGuardHook',
    'TeacherLabelsHook',
    'TeacherMetricHook',
    'adapters',
]
