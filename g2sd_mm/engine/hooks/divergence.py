"""Say so when the loss leaves the place where it was."""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor


@HOOKS.register_module()
class DivergenceHook(Hook):
    """Warns once when the loss stays above a multiple of its running median.

    The run goes on: some recover. The next warning comes after the loss was below the limit again.

    Args:
        factor: times the median.
        patience: steps in a row.
        window: steps that the median is taken of; there is no limit before half of them were seen.
    """

    def __init__(self, factor: float = 5.0, patience: int = 20, window: int = 200) -> None:
        if window < 2 * patience:
            raise ValueError(
                f'a window of {window} steps is too short for a patience of {patience}: the '
                'median itself would follow the loss; take at least twice as many'
            )
        self.factor, self.patience = factor, patience
        self._losses: deque[float] = deque(maxlen=window)
        self._enough = window // 2
        self._unseen: list[tuple[int, Tensor]] = []
        self._above = 0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Compare this step's loss to those before it; on a GPU some steps at once."""
        loss = (outputs or {}).get('loss')
        if not isinstance(loss, Tensor):
            return
        self._unseen.append((runner.iter + 1, loss.detach()))
        if loss.device.type == 'cpu' or len(self._unseen) == self.patience:
            values = torch.stack([value for _, value in self._unseen]).tolist()
            for (step, _), value in zip(self._unseen, values, strict=True):
                self._compare(runner, step, value)
            self._unseen.clear()

    def _compare(self, runner: Runner, step: int, loss: float) -> None:
        seen = self._losses
        if len(seen) >= self._enough:
            usual = median(seen)
            self._above = self._above + 1 if loss > self.factor * usual else 0
            if self._above == self.patience:
                runner.logger.warning(
                    'the loss diverges: %.4g at step %d, above %g x its running median of %.4g '
                    'for %d steps; a lower learning rate or a longer warm-up may help',
                    loss, step, self.factor, usual, self.patience,
                )
        seen.append(loss)
