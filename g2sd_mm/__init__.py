"""g2sd_mm: Generic-to-Specific Distillation of masked autoencoders on OpenMMLab.

``import g2sd_mm`` is light: it prepares the stack (see :mod:`g2sd_mm.compat`) and imports no
framework. :func:`register_all` registers every component.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import compat
from .version import __version__

if TYPE_CHECKING:
    from mmengine.config import Config

compat.prepare()

__all__ = ['__version__', 'distill_config', 'register_all']


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
