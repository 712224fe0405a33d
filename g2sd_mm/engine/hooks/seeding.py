"""Per-step randomness (mixup, drop path, dropout) that depends on the step and not on history."""

from __future__ import annotations

from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...seeding import seed_everything


@HOOKS.register_module()
class StepSeedHook(Hook):
    """Seeds python, numpy and torch before each training step from (run seed, step, rank).

    What a step draws is then the same after a resume as without one, and differs between ranks
    (mmengine gives every rank one seed unless told otherwise). Per-sample randomness, the masking
    noise among it, is seeded by the data set instead.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed all three generators."""
        seed_everything(runner.seed, runner.iter, get_rank())
