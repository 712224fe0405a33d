"""A hook for runs in other processes: this node dies, once, in the middle of training."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module(force=True)
class Dying(Hook):
    """Kills the process and the launcher above it, as when a machine is switched off.

    Args:
        rank: of the process.
        step: before which it happens.
        note: file that is written; while it is there nothing more happens.
    """

    def __init__(self, rank: int, step: int, note: str) -> None:
        self.rank, self.step, self.note = rank, step, Path(note)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Die."""
        if runner.rank == self.rank and runner.iter == self.step and not self.note.exists():
            self.note.write_text('died')
            os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
