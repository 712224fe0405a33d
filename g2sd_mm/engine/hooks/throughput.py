"""Images a second, in every line of the log."""

from __future__ import annotations

from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class ThroughputHook(Hook):
    """Adds the scalar ``images_per_second``: of all processes, reading included.

    It needs the ``IterTimerHook``, which measures.

    Args:
        window: steps whose mean time counts.
    """

    priority = 'NORMAL'  # behind the timer, which is one of the default hooks; before the logger

    def __init__(self, window: int = 50) -> None:
        self.window = window

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Write the figure where the logger finds it."""
        hub = runner.message_hub
        if 'train/time' not in hub.log_scalars:
            return
        seconds = hub.get_scalar('train/time').mean(self.window)
        images = runner.train_dataloader.batch_size * get_world_size()
        hub.update_scalar('train/images_per_second', images / max(float(seconds), 1e-9))
