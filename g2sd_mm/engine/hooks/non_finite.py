"""Not a number, or infinite: keep it out of the weights, and say where it came from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.dist import get_rank, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.optim import Optimizer

from ...errors import RunError
from ..bundle import write_bundle
from ..tensors import all_finite, as_number
from .access import bare_model, between_updates


@dataclass(frozen=True)
class Step:
    """One micro-batch of the update that is being made.

    Attributes:
        number: iterations before it.
        batch: as the data loader gave it.
        losses: terms by name, this rank's.
    """

    number: int
    batch: Any
    losses: dict[str, float]

    @property
    def bad(self) -> bool:
        """Whether any term is not finite."""
        return not all(map(math.isfinite, self.losses.values()))

    def files(self) -> list[str]:
        """Image files of the batch, as far as the samples know them."""
        samples = self.batch.get('data_samples') if isinstance(self.batch, dict) else None
        return [str(path) for s in samples or () if (path := getattr(s, 'img_path', None))]


@HOOKS.register_module()
class NonFiniteHook(Hook):
    """Stops at the first non-finite loss or gradient, or goes on without that update.

    Gradients are looked at before the optimizer sees them, all ranks' together; where one is not
    finite, none is applied. (A gradient scaler deals with its own overflows: no update of an
    ``AmpOptimWrapper`` that it skips counts.) The batches of the update go into a bundle that
    ``tools/train.py CONFIG --replay BUNDLE`` runs.

    Args:
        max_skips: updates of the whole run, resumed or not, that may be left out before it stops.

    Raises:
        RunError: with step, loss terms, files and bundle.
    """

    priority = 'VERY_HIGH'  # nothing is logged or saved of a step that ends the run

    def __init__(self, max_skips: int = 0) -> None:
        self.max_skips = max_skips
        self._window: list[Step] = []
        self._vetoed = False

    def before_train(self, runner: Runner) -> None:
        """Stand before the optimizer."""
        self._window, self._vetoed = [], False
        optimizer = runner.optim_wrapper.optimizer
        self._handle = optimizer.register_step_pre_hook(self._veto)

    def after_train(self, runner: Runner) -> None:
        """Leave the optimizer alone."""
        self._handle.remove()

    def _veto(self, optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
        parameters = [p for g in optimizer.param_groups for p in g['params'] if p.grad is not None]
        if all_finite([p.grad for p in parameters]):
            return
        self._vetoed = True
        for parameter in parameters:
            parameter.grad = None  # an optimizer passes over what has no gradient

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Judge at the end of an update, with all its micro-batches at hand."""
        losses = {name: as_number(v) for name, v in (outputs or {}).items() if 'loss' in name}
        self._window.append(Step(runner.iter, data_batch, losses))
        if not between_updates(runner):
            return
        window, vetoed = self._window, self._vetoed
        self._window, self._vetoed = [], False
        if vetoed or any(step.bad for step in window):
            self._judge(runner, window, vetoed)

    def _judge(self, runner: Runner, window: Sequence[Step], vetoed: bool) -> None:
        skipped = runner.message_hub.runtime_info.get('skipped_updates', 0) + 1
        runner.message_hub.update_info('skipped_updates', skipped)
        stop = skipped > self.max_skips
        culprit = next((step for step in window if step.bad), window[-1])
        bundle = ''
        if culprit.bad or is_main_process():
            bundle = self._keep(runner, window, culprit)
        what = 'loss' if culprit.bad else 'gradient'
        applied = '' if vetoed else ' (its gradient is finite, and was applied)'
        terms = ', '.join(f'{name}={value:.4g}' for name, value in culprit.losses.items())
        line = (
            f'non-finite {what} at step {culprit.number + 1}{applied}: {terms}; '
            f'batch: {_some(culprit.files())}{bundle}'
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
                losses=[step.losses for step in window],
                files=[step.files() for step in window],
                seed=runner.seed,
                rank=get_rank(),
                config=runner.cfg.pretty_text,
            )
        except OSError as error:  # a full disk must not hide the cause
            return f'; its bundle could not be written ({error})'
        config = Path(runner.work_dir) / Path(runner.cfg.filename or 'CONFIG').name
        return f'; run it again by: python tools/train.py {config} --replay {path}'


def _some(files: Sequence[str], shown: int = 4) -> str:
    names = ', '.join(files[:shown]) or 'no file names known'
    return names + (f' and {len(files) - shown} more' if len(files) > shown else '')
