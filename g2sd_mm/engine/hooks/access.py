"""What hooks ask a runner: the model behind DDP, how far training is, whether it may stop here."""

from __future__ import annotations

from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn


def bare_model(runner: Runner) -> Any:
    """The runner's model without its DDP wrapper."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def frozen_networks(model: Any) -> tuple[nn.Module, ...]:
    """Networks that a model runs beside itself, which are in no state dict: its teachers."""
    return getattr(model, 'frozen_networks', ())


def updates_so_far(runner: Runner) -> int:
    """Optimizer updates since the start of training, also after a resume."""
    return runner.iter // getattr(runner.optim_wrapper, '_accumulative_counts', 1)


def between_updates(runner: Runner) -> bool:
    """Whether no gradients are waiting, so that parameters and counts are all there is to save.

    After a step, not during one. False inside of a window of gradient accumulation.
    """
    should_update = getattr(runner.optim_wrapper, 'should_update', None)
    return should_update is None or should_update()
