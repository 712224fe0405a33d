"""Not a number, or infinite: keep it out of the weights, and say where it came from."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor
from torch.optim import Optimizer

from ...errors import RunError
from ...text import some
from ..failure_dump import write_bundle
from ..running_statistics import Undo
from ..tensors import DeferredScalar, any_not_finite, is_sharded
from .access import bare_model, between_updates, updates_before


@dataclass(frozen=True)
class Step:
    """One micro-batch of an update.

    Attributes:
        number: iterations before it.
        batch: as the data loader gave it.
        losses: terms by name, this rank's; they stay on the device until somebody asks.
    """

    number: int
    batch: Any
    losses: dict[str, Tensor]

    def numbers(self) -> dict[str, float]:
        """The terms as numbers; waits for the device."""
        return {name: value.item() for name, value in self.losses.items()}

    def bad(self) -> bool:
        """Whether any term is not finite."""
        return not all(map(math.isfinite, self.numbers().values()))

    def files(self) -> list[str]:
        """Image files of the batch, as far as the samples know them."""
        samples = self.batch.get('data_samples') if isinstance(self.batch, dict) else None
        return [str(path) for s in samples or () if (path := getattr(s, 'img_path', None))]


@HOOKS.register_module()
class NonFiniteHook(Hook):
    """Stops at the first non-finite loss or gradient, or goes on without that update.

    Gradients are looked at before the optimizer sees them, all ranks' together; where one is not
    finite, none is applied. (A gradient scaler deals with its own overflows: no update of an
    ``AmpOptimWrapper`` that it skips counts.) Running statistics, of batch norm, which the forward
    passes have changed already, are put back. The batches of the update go into a bundle that
    ``tools/train.py CONFIG --replay BUNDLE`` runs.

    With a fused optimizer on a GPU nothing is waited for: the kernel itself leaves the update out,
    and what happened is read when the next update comes, one step later.

    Args:
        max_skips: updates of the whole run, resumed or not, that may be left out before it stops.

    Raises:
        RunError: with step, loss terms, files and bundle.
    """

    priority = 'VERY_HIGH'  # nothing is logged or saved of a step that ends the run

    def __init__(self, max_skips: int = 0) -> None:
        self.max_skips = max_skips

    def before_train(self, runner: Runner) -> None:
        """Stand before the optimizer."""
        self._window: list[Step] = []
        self._vetoed: Tensor | None = None  # 1.0 where a gradient was not finite
        # of an update: its micro-batches, the veto, and whether a gradient or a loss was not finite
        self._last: tuple[list[Step], Tensor | None, DeferredScalar] | None = None
        self._runner, self._handles = runner, []
        self._undo = Undo(bare_model(runner))
        if not hasattr(runner.optim_wrapper, 'loss_scaler'):
            optimizer = runner.optim_wrapper.optimizer
            self._handles = [
                optimizer.register_step_pre_hook(self._veto),
                optimizer.register_step_post_hook(_forget_veto),
            ]

    def _veto(self, optimizer: Any, args: tuple, kwargs: dict) -> None:
        """Before a step of the optimizer: leave it out if a gradient is not finite."""
        self._settle()  # the one before; its verdict is here by now
        parameters = [p for g in optimizer.param_groups for p in g['params'] if p.grad is not None]
        gradients = [parameter.grad for parameter in parameters]
        self._vetoed = any_not_finite(gradients)
        fused = all(group.get('fused') for group in optimizer.param_groups)
        if fused and not is_sharded(gradients):
            optimizer.found_inf = self._vetoed  # torch's own way: the kernel leaves all as it is
        elif self._vetoed.item():
            for parameter in parameters:
                parameter.grad = None  # an optimizer passes over what has no gradient

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Note what the forward passes of an update may spoil."""
        if not self._window:
            self._undo.keep()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Keep what the update is made of; judge at its end, with all micro-batches at hand."""
        losses = {
            name: value.detach()
            for name, value in (outputs or {}).items()
            if 'loss' in name and isinstance(value, Tensor)
        }
        self._window.append(Step(runner.iter, data_batch, losses))
        if not between_updates(runner):
            return
        found = any_not_finite([value for step in self._window for value in step.losses.values()])
        if self._vetoed is not None:
            found = torch.maximum(found, self._vetoed.to(found.device))
        self._last = (self._window, self._vetoed, DeferredScalar(found))
        self._window, self._vetoed = [], None
        self._undo.back_if(found)
        if all(value.device.type == 'cpu' for value in losses.values()):
            self._settle()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """No step is saved that was not judged."""
        self._settle()

    def after_train(self, runner: Runner) -> None:
        """Judge the last step, and leave the optimizer alone."""
        self._settle()
        for handle in self._handles:
            handle.remove()

    def _settle(self) -> None:
        last, self._last = self._last, None
        if last is None:
            return
        steps, vetoed, broken = last
        if broken.item():
            self._judge(self._runner, steps, vetoed is not None and bool(vetoed.item()))

    def _judge(self, runner: Runner, window: Sequence[Step], vetoed: bool) -> None:
        skipped = runner.message_hub.runtime_info.get('skipped_updates', 0) + 1
        runner.message_hub.update_info('skipped_updates', skipped)
        stop = skipped > self.max_skips
        culprit = next((step for step in window if step.bad()), window[-1])
        bundle = ''
        sharded = is_sharded(list(bare_model(runner).parameters()))  # no process has it all
        if (culprit.bad() or is_main_process()) and not sharded:
            bundle = self._keep(runner, window, culprit)
        what = 'loss' if culprit.bad() else 'gradient'
        # a gradient scaler looks at gradients by itself
        known = vetoed or not self._handles
        applied = '' if known else ' (its gradient is finite, and was applied)'
        terms = ', '.join(f'{name}={value:.4g}' for name, value in culprit.numbers().items())
        line = (
            f'non-finite {what} at step {culprit.number + 1}{applied}: {terms}; '
            f'batch: {some(culprit.files(), shown=4) or "no file names known"}{bundle}'
        )
        if stop:
            advice = '' if skipped == 1 else f'; this is update {skipped} of its kind'
            raise RunError(
                f'{line}{advice}. --cfg-options reliability.non_finite.max_skips=N leaves out up '
                'to N such updates'
            )
        runner.logger.warning('update skipped (%d of %d): %s', skipped, self.max_skips, line)

    def _keep(self, runner: Runner, window: Sequence[Step], culprit: Step) -> str:
        path = Path(runner.work_dir) / f'non_finite_{culprit.number + 1}_rank{get_rank()}.pth'
        try:
            write_bundle(
                path,
                state=bare_model(runner).state_dict(),
                batches=[step.batch for step in window],
                steps=[step.number for step in window],
                updates=[updates_before(runner, step.number) for step in window],
                losses=[step.numbers() for step in window],
                files=[step.files() for step in window],
                seed=runner.seed,
                rank=get_rank(),
                config=runner.cfg.pretty_text,
            )
        except OSError as error:  # a full disk must not hide the cause
            return f'; its bundle could not be written ({error})'
        config = Path(runner.work_dir) / Path(runner.cfg.filename or 'CONFIG').name
        words = ['python', 'tools/train.py', str(config), '--replay', str(path)]
        return f'; run it again by: {shlex.join(words)}'


def _forget_veto(optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
    if hasattr(optimizer, 'found_inf'):
        del optimizer.found_inf
