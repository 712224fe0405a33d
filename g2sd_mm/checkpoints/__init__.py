"""Weights files: read them safely, say what they are, load them without leaving anything out."""

from ..compat.safe_load import CheckpointError
from .fill import encoder_state
from .identify import Kind, describe, identify
from .load import load_verified
from .read import Weights, read_weights

__all__ = [
    'CheckpointError',
    'Kind',
    'Weights',
    'describe',
    'encoder_state',
    'identify',
    'load_verified',
    'read_weights',
]
