"""Weights that a run starts from, or goes on from, are there to the last name."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...checkpoints import CheckpointError
from ...checkpoints.fill import fill_start
from ...checkpoints.load import compare
from ...checkpoints.read import below
from ...config.old_names import is_old_stage1_run
from .access import bare_model


@HOOKS.register_module()
class StrictLoadingHook(Hook):
    """Stands in for mmengine's ``load_from``, which takes what fits and says little of the rest.

    Args:
        start: weights file that the run's student starts from, see
            :func:`g2sd_mm.checkpoints.fill.fill_start`.
    """

    def __init__(self, start: str | None = None) -> None:
        self.start = start

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Before mmengine fills the model on a resume: names and shapes have to be the model's.

        Raises:
            CheckpointError: if the checkpoint is of another model.
        """
        averaged = checkpoint.get('ema_state_dict')
        if averaged and not any(isinstance(hook, EMAHook) for hook in runner.hooks):
            # the optimizer's moments belong to the weights that were trained, not to their average
            checkpoint['state_dict'] = below(averaged, 'module.')
            runner.logger.warning(
                'this checkpoint averages weights and the config has no EMAHook: the run goes on '
                'from the weights that were trained, without their average. To go on averaging, '
                'put EMAHook back into custom_hooks'
            )
        state = checkpoint.get('state_dict')
        if is_old_stage1_run(state or {}):
            raise CheckpointError(
                f'cannot go on from {runner._load_from}: a stage-1 run of version 0.1, whose '
                'model.type was GenericDistiller and is now MaskedStudent with a distillation '
                'block. Finish it with that version, or start anew from its student: leave '
                f'--resume out and add --cfg-options load_from={runner._load_from}'
            )
        model = bare_model(runner)
        problems = compare(model.state_dict(), state or {}).problems()
        if problems:
            raise CheckpointError(
                f'cannot go on from this checkpoint: it is not of this config '
                f'({type(model).__name__}); parameters: {problems}. Resume with the config and '
                'work dir of the run, or start anew from its weights.pth with '
                '--cfg-options load_from=FILE'
            )

    def before_train(self, runner: Runner) -> None:
        """After random and pre-trained initialisation.

        Raises:
            CheckpointError: if the file does not fit.
        """
        if self.start:
            fit = fill_start(bare_model(runner), self.start)
            runner.logger.info('%s', fit.summary(self.start))
