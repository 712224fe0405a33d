"""Begin where the checkpoint was taken, with all that was still to do there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner

from ...checkpoints.integrity import POINTER
from ..fitting import fit_checkpoint, keep_plain_states
from ..position import KEY
from .access import position_of


@HOOKS.register_module()
class ResumeHook(Hook):
    """Finds the place of a checkpoint in this run, and makes up for the validation due there.

    Batch, processes, images, length, schedule and optimizer may have changed since
    (:mod:`g2sd_mm.engine.fitting`); every checkpoint records what it counted in. Checkpoints are
    saved before the validation of their step, so a run that ended in between has not seen its
    figures, nor kept the best weights by them. Seeing them twice changes nothing.

    Args:
        notes: lines for the log, on which checkpoints were passed over.
    """

    priority = 'LOWEST'  # after all others have got ready to train

    def __init__(self, notes: Sequence[str] = ()) -> None:
        self.notes = list(notes)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Fit the checkpoint to this run, if it is resumed.

        Raises:
            CheckpointError, UserError: if that cannot be done.
        """
        if not runner._resume:
            return
        runner.train_loop.start, notes = fit_checkpoint(runner, checkpoint)
        self.notes += notes

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Record the position with what it is counted in."""
        keep_plain_states(checkpoint)
        meta = checkpoint['meta']
        meta[KEY] = position_of(runner, meta['epoch'], meta['iter']).plain()

    def before_train(self, runner: Runner) -> None:
        """Validate if that is due; a new run takes the work dir over from an earlier one."""
        for note in self.notes:
            runner.logger.warning(note)
        if runner.iter == 0 and getattr(runner.train_loop, 'start', None) is None:
            self._take_over(runner)
        elif runner.iter > 0 and runner.val_loop is not None and _validation_is_due(runner):
            runner.logger.info('validating step %d: the run ended before or in it', runner.iter)
            runner.val_loop.run()

    def _take_over(self, runner: Runner) -> None:
        pointer = Path(runner.work_dir) / POINTER
        if is_main_process() and pointer.is_file():
            runner.logger.warning(
                'new run in the work dir of an earlier one: --resume will not find the checkpoint '
                '%s any more (--resume PATH will, until it is overwritten)',
                pointer.read_text(encoding='utf-8', errors='replace').strip(),
            )
            pointer.unlink()


def _validation_is_due(runner: Runner) -> bool:
    loop = runner.train_loop
    done, end = runner.iter, runner.max_iters
    if isinstance(loop, EpochBasedTrainLoop):
        if done != loop.epoch * len(loop.dataloader):
            return False  # in the middle of an epoch
        done, end = loop.epoch, loop.max_epochs
    loop._decide_current_val_interval()
    return done >= loop.val_begin and (done % loop.val_interval == 0 or done == end)
