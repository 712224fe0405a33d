"""Distillation losses, each a pure function and a thin registered module.

Every module is called with keywords: ``student`` and ``teacher`` are what the taps recorded, any
further argument is named in the config's ``inputs``. Each returns one scalar.
"""

from .classification import HardDistillationLoss, NKDLoss
from .detection import FeatureRichnessLoss, ObjectnessDistillationLoss
from .feature import SmoothL1FeatureLoss
from .relation import TokenRelationLoss
from .segmentation import ChannelWiseDivergence, PixelwiseKLDivergence

__all__ = [
    'ChannelWiseDivergence',
    'FeatureRichnessLoss',
    'HardDistillationLoss',
    'NKDLoss',
    'ObjectnessDistillationLoss',
    'PixelwiseKLDivergence',
    'SmoothL1FeatureLoss',
    'TokenRelationLoss',
]
