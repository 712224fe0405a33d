"""Distillation: a frozen teacher, taps, losses, and the two distillers. Knows no task library."""

from .generic import GenericDistiller
from .hook import DistillationHook
from .losses import HardDistillationLoss, NKDLoss, SmoothL1FeatureLoss, TokenRelationLoss
from .specific import Distillation, SpecificDistiller
from .taps import Taps
from .teacher import ChainTeacher, FrozenTeacher

__all__ = [
    'ChainTeacher',
    'Distillation',
    'DistillationHook',
    'FrozenTeacher',
    'GenericDistiller',
    'HardDistillationLoss',
    'NKDLoss',
    'SmoothL1FeatureLoss',
    'SpecificDistiller',
    'Taps',
    'TokenRelationLoss',
]
