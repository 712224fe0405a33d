"""What hooks ask a runner: the model behind DDP, and how far training is."""

from __future__ import annotations

from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.runner import Runner


def bare_model(runner: Runner) -> Any:
    """The runner's model without its DDP wrapper."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def updates_so_far(runner: Runner) -> int:
    """Optimizer updates since the start of training, also after a resume."""
    return runner.iter // getattr(runner.optim_wrapper, '_accumulative_counts', 1)
