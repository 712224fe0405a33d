"""Temperatures that are adapted while they are trained with (Meta Knowledge Distillation).

After Liu et al., arXiv 2202.07940, of which the abstract could be read: temperatures of teacher and
student are meta-parameters, adapted by the gradient of the learning objective. How is ours: the
gradient of the labels' loss on images that a step has not seen, through one step of the student.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from ..engine.hooks.access import bare_model, between_updates, updates_so_far
from ..engine.position import images_of_iteration
from ..engine.undisturbed import undisturbed
from ..errors import ConfigError
from .losses.classification import MetaSoftDistillationLoss

Value = Callable[[], Tensor]


def meta_gradient(
    train: Value,
    held_out: Value,
    logits: Value,
    soft: Callable[[Tensor, Tensor], Tensor],
    parameters: Sequence[Tensor],
    meta: Tensor,
    rate: float,
    epsilon: float = 1e-2,
) -> Tensor:
    """Gradient of ``held_out(theta - rate * d train / d theta)`` by the meta-parameters.

    Meta-parameters enter ``train`` through ``soft(logits, meta)`` alone. With g the gradient of
    ``held_out`` behind the step, the chain rule gives ``-rate`` times the derivative of
    ``<g, d train / d theta>`` by the meta-parameters. This inner product is
    ``<J g, d soft / d logits>``, and the derivative J g of the logits along g does not depend on
    the meta-parameters. It is taken by a central difference, so nothing is differentiated twice
    through the network.

    Args:
        train, held_out: scalars, computed anew at each call from the parameters as they are.
        logits: of the images of ``train``, [B, K].
        soft: the part of ``train`` that depends on the meta-parameters.
        parameters: theta; moved meanwhile, and the same afterwards, to the last bit.
        meta: [M].
        rate: of the step.
        epsilon: length of the difference's steps.

    Returns:
        [M].
    """
    before = [p.detach().clone() for p in parameters]

    def move(direction: Sequence[Tensor], by: Tensor | float) -> None:
        with torch.no_grad():
            for p, start, d in zip(parameters, before, direction, strict=True):
                p.copy_(start + by * d)

    try:
        move(_gradient(train(), parameters), -rate)
        g = _gradient(held_out(), parameters)
        length = torch.stack([d.square().sum() for d in g]).sum().sqrt()
        step = epsilon / length.clamp(min=torch.finfo(length.dtype).tiny)
        with torch.no_grad():
            move(g, step)
            ahead = logits()
            move(g, -step)
            along = (ahead - logits()) / (2 * step)
    finally:
        with torch.no_grad():
            for p, start in zip(parameters, before, strict=True):
                p.copy_(start)
    with torch.no_grad():
        at = logits()
    at, meta = at.detach().requires_grad_(), meta.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(soft(at, meta), at, create_graph=True)
    (gradient,) = torch.autograd.grad((slope * along).sum(), meta)
    return -rate * gradient


def _gradient(value: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(value, parameters, allow_unused=True)
    return [torch.zeros_like(p) if d is None else d
            for p, d in zip(parameters, found, strict=True)]  # fmt: skip


@HOOKS.register_module()
class MetaTemperatureHook(Hook):
    """Adapts the temperatures of a ``MetaSoftDistillationLoss`` every few updates.

    After a step, half of its batch takes one more step of plain gradient descent, at the run's rate
    and for trial; the other half says by its labels what the temperatures did to it
    (:func:`meta_gradient`). Each temperature then moves by ``rate`` on a logarithmic scale in the
    direction that lowers this loss. The student itself stays as the step left it.

    Args:
        loss: name of the loss in ``distillation.losses``.
        every: updates between two such moves.
        rate: of the logarithm of a temperature.
        limits: least and largest temperature.
    """

    priority = 'ABOVE_NORMAL'  # before what saves

    def __init__(
        self,
        loss: str = 'loss_meta',
        every: int = 10,
        rate: float = 0.02,
        limits: tuple[float, float] = (0.25, 16.0),
    ) -> None:
        self.name, self.every, self.rate, self.limits = loss, every, rate, limits

    def before_train(self, runner: Runner) -> None:
        """Find the loss.

        Raises:
            ConfigError: if the run has none of that name and kind, or batches of one image.
        """
        losses = getattr(getattr(bare_model(runner), 'distillation', None), 'losses', {})
        if self.name not in losses or not isinstance(losses[self.name], MetaSoftDistillationLoss):
            raise ConfigError(
                f'MetaTemperatureHook.loss={self.name!r} is no MetaSoftDistillationLoss of '
                f'distillation.losses, which has {", ".join(losses) or "nothing"}'
            )
        if images_of_iteration(runner.train_dataloader) < 2:
            raise ConfigError(
                'MetaTemperatureHook divides a batch in two: train_dataloader.batch_size=1 is too '
                'small'
            )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Move the temperatures, and write them to the log."""
        if (updates_so_far(runner) + 1) % self.every or not between_updates(runner):
            return
        model = bare_model(runner)
        loss = model.distillation.losses[self.name]
        rate = max(group['lr'] for group in runner.optim_wrapper.param_groups)
        with undisturbed(model), torch.enable_grad():
            gradient = self._gradient(model, data_batch, rate)
        all_reduce(gradient, 'mean')
        low, high = (torch.tensor(limit).log().item() for limit in self.limits)
        loss.log_tau.sub_(self.rate * gradient.sign()).clamp_(low, high)
        for name, value in zip(('student', 'teacher'), loss.log_tau.exp().tolist(), strict=True):
            runner.message_hub.update_scalar(f'train/tau_{name}', value)

    def _gradient(self, model: Any, data_batch: Any, rate: float) -> Tensor:
        distillation, student = model.distillation, model.student
        data = model.data_preprocessor(data_batch, True)
        images, samples = data['inputs'], data['data_samples']
        half = len(images) // 2
        first, second = (images[:half], samples[:half]), (images[half:], samples[half:])
        loss = distillation.losses[self.name]
        own, theirs = (
            distillation.loss_places(self.name)[side].partition('.')[2]
            for side in ('student', 'teacher')
        )
        taught = distillation.ask_teacher(*first)[theirs].float()

        def logits() -> Tensor:
            with distillation.student_taps.record() as heard:
                student(*first, mode='loss')
            return heard[own].float()

        def total(losses: Any) -> Tensor:
            return model.parse_losses(losses)[0]

        return meta_gradient(
            train=lambda: total(model.losses(*first)),
            held_out=lambda: total(student(*second, mode='loss')),
            logits=logits,
            soft=lambda z, log_tau: loss(z, taught, log_tau),
            parameters=[p for p in student.parameters() if p.requires_grad],
            meta=loss.log_tau,
            rate=rate,
        )
