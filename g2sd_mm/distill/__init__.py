"""Distillation: frozen teachers, taps, losses, and one distiller. Knows no task library.

The package can be called too: ``g2sd_mm.distill('my_images')`` is the command ``g2sd distill``.
"""

import sys
from types import ModuleType
from typing import Any

from . import adapters
from .answers import TeacherAnswersHook
from .distillation import Distillation
from .distiller import SpecificDistiller
from .hooks import DistillationHook, LossWarmupHook, TeacherCostHook, TeacherGuardHook
from .meta import MetaTemperatureHook
from .several_students import SeveralStudents
from .starts import FittedAdaptersHook, SlicedStartHook
from .students import FeatureStudent, MaskedStudent, TwiceSeeingStudent
from .taps import Taps
from .teacher_metric import TeacherMetricHook
from .teachers import ChainTeacher, Features, FrozenTeacher

__all__ = [
    'ChainTeacher',
    'Distillation',
    'DistillationHook',
    'FeatureStudent',
    'Features',
    'FittedAdaptersHook',
    'FrozenTeacher',
    'LossWarmupHook',
    'MaskedStudent',
    'MetaTemperatureHook',
    'SeveralStudents',
    'SlicedStartHook',
    'SpecificDistiller',
    'Taps',
    'TeacherAnswersHook',
    'TeacherCostHook',
    'TeacherGuardHook',
    'TeacherMetricHook',
    'TwiceSeeingStudent',
    'adapters',
]


class _Callable(ModuleType):
    """A package and the command of its name are one attribute of ``g2sd_mm``: it has to be both."""

    def __call__(self, data: str, **choices: Any) -> Any:
        """See :func:`g2sd_mm.bench.own_student.make.distill`."""
        from ..bench.own_student import distill

        return distill(data, **choices)


sys.modules[__name__].__class__ = _Callable
