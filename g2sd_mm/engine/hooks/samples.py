"""Count the samples that could not be read, say which, and stop when they are too many."""

from __future__ import annotations

from typing import Any

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...errors import DataError


@HOOKS.register_module()
class SampleErrorHook(Hook):
    """Logs each unreadable training sample once, with the count, and gives up above a limit.

    The data set wrapper replaces such a sample by another (see
    :class:`~g2sd_mm.datasets.seeded.SeededDataset`); this hook hears of it in the main process.

    Args:
        limit: distinct unreadable samples of this rank after which training stops.
    """

    def __init__(self, limit: int = 100) -> None:
        self.limit = limit
        self.seen: set[str] = set()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Look through the batch for replaced samples."""
        samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
        for sample in samples or ():
            for problem in getattr(sample, 'unreadable', ()):
                if problem not in self.seen:
                    self.seen.add(problem)
                    runner.logger.warning('sample skipped (%d so far): %s', len(self.seen), problem)
        if len(self.seen) > self.limit:
            raise DataError(
                f'{len(self.seen)} training samples could not be read, more than the limit of '
                f'{self.limit}: mend the data set (tools/check_data.py says what is wrong), '
                'or raise SampleErrorHook.limit'
            )

    def after_train(self, runner: Runner) -> None:
        """One line with the total over all ranks, if there was any."""
        total = len(set().union(*all_gather_object(self.seen)))
        if total:
            runner.logger.warning('%d training sample(s) were unreadable and skipped', total)
