"""Tell the distillation losses how far training is."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from .access import bare_model, updates_so_far


@HOOKS.register_module()
class LossWarmupHook(Hook):
    """Keeps ``distillation.update``, optimizer updates since the start of training.

    Counted from the run's own iteration, so it goes on where it was after a resume.
    """

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Set the count before the losses are computed; 0 at the first step."""
        bare_model(runner).distillation.update = updates_so_far(runner)
