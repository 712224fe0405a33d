"""A training loop that can go on in the middle of an epoch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop
from torch.utils.data import BatchSampler

from ..errors import UserError


@LOOPS.register_module()
class ResumableEpochLoop(EpochBasedTrainLoop):
    """mmengine's epochs, begun where a checkpoint of the middle of an epoch was taken.

    (mmengine's loop by iterations can do it already: it skips in the sampler, as this one does.)

    Raises:
        UserError: if there are fewer images than a step takes; the epoch would have none.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not len(self.dataloader):
            raise UserError(
                f'an epoch has no step: there are {len(self.dataloader.dataset)} training images, '
                f'and a step takes {self.dataloader.batch_size} (train_dataloader.batch_size)'
            )

    def run_epoch(self) -> None:
        """The rest of the epoch, or all of it."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done = self._iter - self._epoch * len(self.dataloader)
        if done < len(self.dataloader):
            for number, batch in enumerate(self._batches_after(done), start=done):
                self.run_iter(number, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _batches_after(self, done: int) -> Iterator[Any]:
        """The epoch's batches from number ``done`` on; those before are not loaded if possible."""
        if not done:
            return iter(self.dataloader)
        batches, sampler = self.dataloader.batch_sampler, self.dataloader.sampler
        if type(batches) is BatchSampler and hasattr(sampler, 'skip'):
            sampler.skip(done * batches.batch_size)
            return iter(self.dataloader)
        self.runner.logger.warning(
            '%s cannot skip: %d batches of this epoch are loaded again and dropped',
            type(sampler).__name__,
            done,
        )
        return itertools.islice(self.dataloader, done, None)
