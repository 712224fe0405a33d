"""Training loops that can go on anywhere, also with another batch or number of processes."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from typing import Any

from mmengine.dist import broadcast_object_list
from mmengine.hooks import EarlyStoppingHook
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from mmengine.runner.loops import _InfiniteDataloaderIterator
from torch.utils.data import BatchSampler

from ..errors import UserError
from .position import Position, iterations_of_update


class _ValidatesByTime:
    """Leaves validations out where they would take more than a tenth of the time.

    They are due by count: on a small data set an epoch may be over before a validation is. The last
    one is never left out, nor is one that takes less than two seconds. Where training follows its
    validations, none is: what is learnt would depend on the clock.
    """

    runner: Any
    val_interval: int
    max_iters: int
    _counts: str  # attribute in whose steps validations are due
    #: Of the time of training, that validations may take on the way.
    share = 0.1
    quick = 2.0  # seconds

    def run(self) -> Any:
        """Launch training.

        Raises:
            UserError: if validations are due at no interval, or the run ends before its first
                update.
        """
        loop, counts = self.runner.val_loop, iterations_of_update(self.runner)
        if counts > self.max_iters:
            raise UserError(
                f'optim_wrapper.accumulative_counts={counts} is more than the {self.max_iters} '
                'iterations of the run, which would end before its first update: accumulate '
                'fewer, or train longer'
            )
        if loop is not None and self.val_interval < 1:
            raise UserError(
                f'train_cfg.val_interval={self.val_interval} is not 1 or more; to leave '
                'validations out: --cfg-options val_dataloader=None val_cfg=None val_evaluator=None'
            )
        self._ended, self._took = time.monotonic(), 0.0
        if loop is not None:
            validate = loop.run

            def timed() -> Any:
                began = time.monotonic()
                metrics = validate()
                self._ended = time.monotonic()
                self._took = self._ended - began
                return metrics

            loop.run = timed
        return super().run()  # type: ignore[misc]

    def _decide_current_val_interval(self) -> None:
        super()._decide_current_val_interval()  # type: ignore[misc]
        if getattr(self, self._counts) % self.val_interval or _follows_metrics(self.runner):
            return  # not due, or needed
        trained = time.monotonic() - self._ended
        early = [self._took > self.quick and self._took > self.share * trained]
        broadcast_object_list(early)  # or some processes would wait for the others
        if early[0]:
            self.val_interval = sys.maxsize
            self.runner.logger.info(
                'no validation here: the last one took %.0f s, more than %g of the time since',
                self._took, self.share,
            )


def _follows_metrics(runner: Any) -> bool:
    """Whether a run ends by the metrics of its validations, or sets its rate by them."""
    return any(isinstance(hook, EarlyStoppingHook) for hook in runner.hooks) or any(
        getattr(schedule, 'need_val_args', False) for schedule in runner.param_schedulers or ()
    )


@LOOPS.register_module()
class ResumableEpochLoop(_ValidatesByTime, EpochBasedTrainLoop):
    """mmengine's epochs, begun where a checkpoint of the middle of an epoch was taken.

    Attributes:
        start: the position that this run goes on from; None in a new run.

    Raises:
        UserError: if there are fewer images than a step takes; the epoch would have none.
    """

    start: Position | None = None
    _counts = '_epoch'

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
        if not 0 <= done <= len(self.dataloader):
            raise RuntimeError(
                f'iteration {self._iter} is not in epoch {self._epoch + 1} of '
                f'{len(self.dataloader)} iterations: the checkpoint was not fitted to this loader'
            )
        if done < len(self.dataloader):
            # asked for one more than there are: samplers of batches tidy up when they have ended
            for number, batch in enumerate(self._batches_after(done), start=done):
                if number == len(self.dataloader):
                    break  # a sampler for iterations, which goes on with the next pass
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


@LOOPS.register_module()
class ResumableIterLoop(_ValidatesByTime, IterBasedTrainLoop):
    """mmengine's iterations, whose data go on after the images that were seen.

    mmengine skips as many iterations as the run has made, of whatever batch it has now.

    Attributes:
        start: the position that this run goes on from; None in a new run.
    """

    start: Position | None = None
    _counts = '_iter'

    def run(self) -> Any:
        """Launch training."""
        if self.start is not None:
            self.dataloader_iterator = _Stream(self.dataloader, self.start)
        return super().run()


class _Stream(_InfiniteDataloaderIterator):
    """mmengine's endless batches, begun at an image."""

    def __init__(self, dataloader: Any, start: Position) -> None:
        super().__init__(dataloader)
        self._start = start

    def skip_iter(self, num_iters: int) -> None:
        """Skip the images that were seen, in the sampler if it can."""
        sampler, units = self._resolve_sampler(), self._start.units
        if sampler is not None and self._resolve_batch_size() and units.step:
            sampler.skip(self._start.images // units.processes)
        else:
            super().skip_iter(self._start.images // units.step if units.step else num_iters)
