"""g2sd_mm: Generic-to-Specific Distillation of masked autoencoders on OpenMMLab.

``import g2sd_mm`` is light: it prepares the stack (see :mod:`g2sd_mm.compat`) and imports no
framework. :func:`register_all` registers every component.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import compat
from .version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from mmengine.config import Config
    from timm.models.vision_transformer import VisionTransformer

    from .students.student import Student

compat.prepare()

__all__ = [
    '__version__',
    'as_timm',
    'distill',
    'distill_config',
    'load_student',
    'predict',
    'register_all',
]


def register_all() -> None:
    """Register backbones, distillers, losses, data sets, hooks and schedules, once, silently.

    They go into mmengine's root registries, so configs of mmpretrain, mmdet and mmseg find them
    without a prefix. None of the three libraries is imported here: a run imports the one it needs.
    """
    from . import datasets, distill, engine, models  # noqa: F401


def distill_config(cfg: Config) -> Config:
    """See :func:`g2sd_mm.distill.config.distill_config`."""
    from .distill.config import distill_config as convert

    return convert(cfg)


def __getattr__(name: str) -> Any:
    """``g2sd_mm.distill``, the package that can be called, see :mod:`g2sd_mm.distill`."""
    if name == 'distill':
        return importlib.import_module('g2sd_mm.distill')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def load_student(
    source: str | Path,
    config: str | Path | None = None,
    options: dict[str, Any] | None = None,
    device: str = 'cpu',
) -> Student:
    """A trained student as an ``nn.Module``; see :func:`g2sd_mm.students.load.load_student`."""
    from .students import load_student as load

    return load(source, config, options, device)


def as_timm(student: Student | str | Path) -> VisionTransformer:
    """A classifier as timm's own network; see :func:`g2sd_mm.students.timm_model.as_timm`."""
    from .students import as_timm as convert

    return convert(student)


def predict(
    student: Student | str | Path, source: Any, threshold: float = 0.3, **options: Any
) -> Any:
    """Predict on one picture or many; see :meth:`g2sd_mm.students.student.Student.predict`.

    Args:
        student: from :func:`load_student`, or what that takes (then it is loaded for this call).
        source: a picture, a folder, a video, a list of them, ...
        threshold: least score of a box.
        options: ``batch_size``, ``tile``, ``progress``.
    """
    from .students import Student, load_student

    loaded = student if isinstance(student, Student) else load_student(student)
    return loaded.predict(source, threshold, **options)
