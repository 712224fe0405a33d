"""Make a process kill its whole group at a given moment."""

from __future__ import annotations

import os
import signal
from typing import Any

from mmengine.model import BaseModel


def kill_all() -> None:
    os.killpg(0, signal.SIGKILL)


def at_step(number: int) -> None:
    """Before training step ``number``, from 1, is over."""
    parse, steps = BaseModel.parse_losses, 0

    def parsing(model: BaseModel, losses: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == number:
            kill_all()
        return parse(model, losses)

    BaseModel.parse_losses = parsing


def before_writing(ending: str) -> None:
    """Before a file whose path ends so gets its name."""
    replace = os.replace

    def replacing(source: Any, target: Any, **options: Any) -> None:
        if str(target).endswith(ending):
            kill_all()
        replace(source, target, **options)

    os.replace = replacing
