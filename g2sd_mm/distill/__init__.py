"""Distillation: a frozen teacher, taps, losses, and the two distillers. Knows no task library."""

from .adapters import LevelAdapters, TokenAdapter
from .generic import GenericDistiller
from .hook import DistillationHook
from .labels_hook import TeacherLabelsHook
from .losses import (
    ChannelWiseDivergence,
    FeatureRichnessLoss,
    HardDistillationLoss,
    NKDLoss,
    ObjectnessDistillationLoss,
    PixelwiseKLDivergence,
    SmoothL1FeatureLoss,
    TokenRelationLoss,
)
from .specific import Distillation, SpecificDistiller
from .taps import Taps
from .teacher import ChainTeacher, FrozenTeacher
from .teacher_metric import TeacherMetricHook

__all__ = [
    'ChainTeacher',
    'ChannelWiseDivergence',
    'Distillation',
    'DistillationHook',
    'FeatureRichnessLoss',
    'FrozenTeacher',
    'GenericDistiller',
    'HardDistillationLoss',
    'LevelAdapters',
    'NKDLoss',
    'ObjectnessDistillationLoss',
    'PixelwiseKLDivergence',
    'SmoothL1FeatureLoss',
    'SpecificDistiller',
    'Taps',
    'TeacherLabelsHook',
    'TeacherMetricHook',
    'TokenAdapter',
    'TokenRelationLoss',
]
