"""Say so when the loss leaves the place where it was."""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..tensors import as_number


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
        self._above = 0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Compare this step's loss to those before it."""
        if not outputs or 'loss' not in outputs:
            return
        loss, seen = as_number(outputs['loss']), self._losses
        if len(seen) >= seen.maxlen // 2:
            usual = median(seen)
            self._above = self._above + 1 if loss > self.factor * usual else 0
            if self._above == self.patience:
                runner.logger.warning(
                    'the loss diverges: %.4g at step %d, above %g x its running median of %.4g '
                    'for %d steps; a lower learning rate or a longer warm-up may help',
                    loss, runner.iter + 1, self.factor, usual, self.patience,
                )
        seen.append(loss)
