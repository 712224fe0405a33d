"""End a run well when the machine is about to be taken away."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...config.parts import peer_timeout
from ...errors import Preempted
from ...preemption import request
from ..agreement import Agreement
from .access import between_updates
from .saving import WholeCheckpointHook


@HOOKS.register_module()
class PreemptionHook(Hook):
    """After SIGTERM or SIGUSR1: finish the update, save, and raise :class:`Preempted`.

    All ranks end after the same step, whichever of them got the signal. It is answered during a
    validation too, which the resumed run then repeats from its beginning.
    """

    priority = 'LOWEST'  # after schedules have stepped, and after a checkpoint that was due anyway

    def before_train(self, runner: Runner) -> None:
        """Get ready to agree."""
        self._agreement = Agreement(peer_timeout(runner.cfg))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """End if any rank was asked to."""
        if between_updates(runner) and self._agreement.any(bool(request())):
            self._end(runner, runner.epoch, runner.iter + 1)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """The same, where all ranks still have batches; inside accumulation it has to wait."""
        if not between_updates(runner) or not hasattr(self, '_agreement'):
            return
        loader = runner.val_dataloader
        in_step = len(loader.dataset) // (runner.world_size * (loader.batch_size or 1))
        if batch_idx < in_step and self._agreement.any(bool(request())):
            self._end(runner, runner.epoch, runner.iter)

    def _end(self, runner: Runner, epoch: int, step: int) -> None:
        why = request() or 'a signal to another process'
        saving = next((h for h in runner.hooks if isinstance(h, WholeCheckpointHook)), None)
        if saving is None:
            raise Preempted(f'ended by {why} after step {step}; this run saves no checkpoints')
        path = saving.save_now(runner, epoch, step)
        runner.logger.warning('ended by %s after step %d, saved %s', why, step, path)
        raise Preempted(f'ended by {why} after step {step}, saved {path}')
