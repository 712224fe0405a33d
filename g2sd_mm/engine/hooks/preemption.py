"""End a run well, on all ranks alike, when the machine is about to be taken away."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import torch
from mmengine.dist import is_distributed
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...config.parts import peer_timeout
from ...errors import Preempted
from ...preemption import request
from ..position import images_of_iteration
from .access import between_updates
from .saving import WholeCheckpointHook


class Agreement:
    """Asks all ranks over a group of its own, on the CPU: a GPU's queue of work is not waited for.

    To be made by all ranks at the same place of the program, and asked likewise.

    Args:
        timeout: how long the others are waited for.
    """

    def __init__(self, timeout: timedelta) -> None:
        self._group: Any = None
        if is_distributed():
            self._group = torch.distributed.new_group(backend='gloo', timeout=timeout)

    def any(self, flag: bool) -> bool:
        """Whether it is so on any rank."""
        if self._group is None:
            return flag
        votes = torch.tensor([int(flag)])
        torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MAX, group=self._group)
        return bool(votes.item())


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
        averaging = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
        # mmpretrain's has its weights in the network for the first pass alone
        twice = any(getattr(hook, 'evaluate_on_origin', False) for hook in averaging)
        if twice or not between_updates(runner) or not hasattr(self, '_agreement'):
            return
        loader = runner.val_dataloader
        in_step = len(loader.dataset) // (runner.world_size * (images_of_iteration(loader) or 1))
        if batch_idx < in_step and self._agreement.any(bool(request())):
            for hook in averaging:  # which have put their weights in the place of the trained ones
                hook._swap_ema_parameters()
            self._end(runner, runner.epoch, runner.iter)

    def _end(self, runner: Runner, epoch: int, step: int) -> None:
        why = request() or 'a signal to another process'
        saving = next((h for h in runner.hooks if isinstance(h, WholeCheckpointHook)), None)
        if saving is None:
            raise Preempted(f'ended by {why} after step {step}; this run saves no checkpoints')
        path = saving.save_now(runner, epoch, step)
        runner.logger.warning('ended by %s after step %d, saved %s', why, step, path)
        raise Preempted(f'ended by {why} after step {step}, saved {path}')
