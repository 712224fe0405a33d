"""A hook for tests: every rank's loss at every step, as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module(force=True)
class LossLog(Hook):
    """Writes ``losses_<rank>.json`` into the work dir."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Take the loss of this step."""
        self.losses.append(outputs['loss'].item())

    def after_train(self, runner: Runner) -> None:
        """Write them all."""
        path = Path(runner.work_dir) / f'losses_{get_rank()}.json'
        path.write_text(json.dumps(self.losses))
