"""mmengine's runner without this project's tools: what they read of a config is not left out there.

A ``distillation`` block is a key like any other to mmengine. Without the tools, which make a model
of it, a run would train the plain student to its end and call it distilled.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from g2sd_mm.errors import UserError

_TRAIN = 'python tools/train.py CONFIG'


def refuse_unread(module: ModuleType) -> None:
    """Change the runner of ``mmengine.runner.runner`` or ``._flexible_runner``, just imported."""
    runner = getattr(module, 'FlexibleRunner', None) or module.Runner
    for method in ('train', 'test'):
        _check_first(runner, method)


def _check_first(runner: Any, method: str) -> None:
    run = getattr(runner, method)

    @functools.wraps(run)
    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        check_read(self.cfg, method == 'train')
        return run(self, *args, **kwargs)

    setattr(runner, method, checked)


def check_read(cfg: Any, trains: bool) -> None:
    """See that a runner's config has nothing that only this project's tools make something of.

    Args:
        cfg: as the runner was built from it.
        trains: whether it trains; the student of a ``distillation`` block can be tested alone.

    Raises:
        UserError: naming the part.
    """
    for part in ('distillation', 'students') if trains else ():
        if cfg.get(part):
            raise UserError(
                f'the config has {part}, which mmengine does not read: this run would have no '
                f'teacher. Build the runner from g2sd_mm.distill_config(cfg), or use {_TRAIN}'
            )
    from g2sd_mm.config.classes import class_counts  # imports mmengine, which is there by now

    names, number = cfg.get('classes'), cfg.get('num_classes')
    key, number = ('classes', len(names)) if isinstance(names, (list, tuple)) else (
        'num_classes', number)  # fmt: skip
    counts = sorted(set(class_counts(cfg.get('model'))))
    if isinstance(number, int) and counts and number not in counts:
        raise UserError(
            f'the config has {key} for {number} classes, which mmengine does not read, and the '
            f'model has {", ".join(map(str, counts))}: set num_classes={number} in its heads, or '
            f'use {_TRAIN}'
        )
