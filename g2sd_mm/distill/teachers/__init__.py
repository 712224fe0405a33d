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
    'ChainTeacher', 'Features', 'FrozenTeacher', 'build_teacher', 'sees_view', 'takes_file',
]  # fmt: skip


def build_teacher(cfg: Mapping[str, Any]) -> FrozenTeacher:
    """The teacher of a ``distillation`` block: a registered ``type`` and its arguments."""
    return MODELS.build({**_DEFAULT, **cfg})


def sees_view(cfg: Mapping[str, Any]) -> bool:
    """Whether a teacher of that config sees what is visible of masked images."""
    return getattr(_family(cfg), 'sees', '') == 'view'


def takes_file(cfg: Mapping[str, Any]) -> bool:
    """Whether a teacher of that config has its weights from a file, its ``checkpoint``."""
    family = _family(cfg)
    return family is not None and 'checkpoint' in inspect.signature(family).parameters


def _family(cfg: Mapping[str, Any]) -> Any:
    kind = {**_DEFAULT, **cfg}['type']
    return MODELS.get(kind) if isinstance(kind, str) else kind
