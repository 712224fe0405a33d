"""Frozen teachers, a file a family; every module of this folder is imported and so registered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.registry import MODELS

from ...dropped_in import import_modules
from .openmmlab import ChainTeacher, OpenMMLabTeacher
from .protocol import Features, FrozenTeacher

import_modules(__name__, __path__)

_DEFAULT = {'type': OpenMMLabTeacher.__name__}

__all__ = ['ChainTeacher', 'Features', 'FrozenTeacher', 'build_teacher', 'sees_view']


def build_teacher(cfg: Mapping[str, Any]) -> FrozenTeacher:
    """The teacher of a ``distillation`` block: a registered ``type`` and its arguments."""
    return MODELS.build({**_DEFAULT, **cfg})


def sees_view(cfg: Mapping[str, Any]) -> bool:
    """Whether a teacher of that config sees what is visible of masked images."""
    kind = {**_DEFAULT, **cfg}['type']
    family = MODELS.get(kind) if isinstance(kind, str) else kind
    return getattr(family, 'sees', '') == 'view'
