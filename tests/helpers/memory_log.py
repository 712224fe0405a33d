"""A hook for tests: what lies in memory, now and then."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module(force=True)
class MemoryLog(Hook):
    """Writes ``memory.json``: tensors that are alive, and megabytes of the process.

    Args:
        interval: steps between two looks.
    """

    priority = 'LOWEST'

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval
        self.tensors: list[int] = []
        self.megabytes: list[float] = []

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Look before a step: what there is now was kept from the last one."""
        if runner.iter % self.interval == 0 and runner.iter > 0:
            gc.collect()
            self.tensors.append(sum(isinstance(o, torch.Tensor) for o in gc.get_objects()))
            pages = int(Path('/proc/self/statm').read_text().split()[1])
            self.megabytes.append(pages * 4096 / 2**20)

    def after_train(self, runner: Runner) -> None:
        """Write all of it."""
        content = dict(tensors=self.tensors, megabytes=self.megabytes)
        (Path(runner.work_dir) / 'memory.json').write_text(json.dumps(content))
