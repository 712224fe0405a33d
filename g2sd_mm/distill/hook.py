"""Distillation for people who keep their own train script: one entry in ``custom_hooks``."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..engine.hooks.access import bare_model, updates_so_far
from .specific import Distillation


@HOOKS.register_module()
class DistillationHook(Hook):
    """Adds a teacher's losses to a stock model's own, without changing the model's class.

    Args:
        teacher, taps, losses: as in a ``distillation`` block.

    The model's ``loss`` method is wrapped for the time of training. Adapters are refused: a hook is
    built after the optimizer, so their parameters would never be trained.
    """

    priority = 'VERY_HIGH'

    def __init__(self, teacher: dict, taps: dict, losses: dict, **unsupported: Any) -> None:
        if unsupported:
            raise ValueError(
                f'DistillationHook cannot do {", ".join(sorted(unsupported))}: adapters have '
                'parameters, and a hook comes after the optimizer was built. Use a "distillation" '
                'block with tools/train.py or g2sd_mm.distill_config(cfg)'
            )
        self._block = dict(teacher=teacher, taps=taps, losses=losses)

    def before_train(self, runner: Runner) -> None:
        """Build the teacher and listen to the model."""
        model = bare_model(runner)
        if not callable(getattr(model, 'loss', None)):
            raise TypeError(
                f'DistillationHook needs a model with a loss(inputs, data_samples) method, as all '
                f'of mmpretrain, mmdet and mmseg have; {type(model).__name__} has none'
            )
        self._distillation = distillation = Distillation(model, **self._block)
        distillation.teacher.to(next(model.parameters()).device)
        self._model, task_loss = model, model.loss

        def loss(inputs: Any, data_samples: Any, *args: Any, **kwargs: Any) -> dict:
            return distillation(
                lambda: task_loss(inputs, data_samples, *args, **kwargs), inputs, data_samples
            )

        model.loss = loss

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Tell the losses' warm-ups how many updates there were."""
        self._distillation.update = updates_so_far(runner)

    def after_train(self, runner: Runner) -> None:
        """Leave the model as it was."""
        del self._model.loss  # the wrapper; the class's own method shows again
        self._distillation.student_taps.remove()
