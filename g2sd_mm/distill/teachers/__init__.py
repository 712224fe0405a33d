"""Frozen teachers, a file a family; every module of this folder is imported and so registered."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mmengine.registry import MODELS

from ...dropped_in import import_modules
from .openmmlab import ChainTeacher, OpenMMLabTeacher
from .protocol import Features, FrozenTeacher

import_modules(__name__, __path__)

_DEFAULT = {'type': OpenMMLabTeacher.__name__}

__all__ = [
    'ChainTeacher', 'Features', 'FrozenTeacher', 'build_teacher', 'sees_view', 'weights_option',
]  # fmt: skip


def build_teacher(cfg: Mapping[str, Any]) -> FrozenTeacher:
    """The teacher of a ``distillation`` block: a registered ``type`` and its arguments."""
    return MODELS.build({**_DEFAULT, **cfg})


def sees_view(cfg: Mapping[str, Any]) -> bool:
    """Whether a teacher of that config sees what is visible of masked images."""
    return getattr(_family(cfg), 'sees', '') == 'view'


def weights_option(cfg: Mapping[str, Any]) -> str | None:
    """The option that names a teacher's weights: its ``checkpoint``, or a folder, its ``model``."""
    family = _family(cfg)
    takes = () if family is None else inspect.signature(family).parameters
    return next((name for name in ('checkpoint', 'model') if name in takes), None)


def _family(cfg: Mapping[str, Any]) -> Any:
    kind = {**_DEFAULT, **cfg}['type']
    return MODELS.get(kind) if isinstance(kind, str) else kind
