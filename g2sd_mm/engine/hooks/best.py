"""Which weights of a run are the best, and which are saved: those that are validated.

A hook such as mmengine's ``EMAHook`` puts averaged weights in the place of the trained ones for the
time of a validation, and into every training checkpoint. Whatever is written beside a metric has to
hold the weights that the metric was measured with.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from ... import tasks
from ...errors import UserError
from ..sharding import ShardedDataParallel
from .access import bare_model

State = dict[str, Tensor]


def check_averaging(runner: Runner) -> None:
    """Refuse a hook that averages weights, but validates or saves others.

    Raises:
        UserError: naming the hook and the argument to change.
    """
    averaging = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
    if len(averaging) > 1:
        raise UserError(
            f'custom_hooks has {len(averaging)} averaging hooks '
            f'({", ".join(type(hook).__name__ for hook in averaging)}): which of their weights are '
            'to be validated and saved? Keep one'
        )
    for hook in averaging:
        name, place = type(hook).__name__, runner.hooks.index(hook)
        if not getattr(hook, 'evaluate_on_ema', True):
            raise UserError(
                f'{name}(evaluate_on_ema=False) validates the trained weights and saves the '
                'averaged ones, so no saved file would have the metric that is logged: leave '
                f'evaluate_on_ema out, or leave {name} out of custom_hooks'
            )
        if any(isinstance(other, CheckpointHook) for other in runner.hooks[:place]):
            raise UserError(
                f'{name} comes after CheckpointHook (priority {hook.priority}), so the best '
                'checkpoint would hold other weights than those validated: leave priority out of '
                f'{name} in custom_hooks'
            )


def deployable(model: nn.Module) -> State:
    """What is written for use: of a distiller its student, of any other model all of it."""
    state: State = getattr(model, 'deployable_state', model.state_dict)()
    return state


def copied(state: Mapping[str, Tensor]) -> State:
    """The same tensors on the CPU, unaffected by what training does to the model's."""
    return {name: tensor.detach().to('cpu', copy=True) for name, tensor in state.items()}


def deployable_now(runner: Runner) -> State:
    """The deployable weights of this moment, on the CPU; only the first process gets them.

    To be called by all of them: the parts of a sharded model are gathered.
    """
    sharded = isinstance(runner.model, ShardedDataParallel)
    return copied(deployable(bare_model(runner))) if sharded or is_main_process() else {}


def saved_deployable(runner: Runner, asking: Hook) -> State:
    """The deployable weights as a training checkpoint of this moment would hold them, on the CPU.

    Every hook may change what a checkpoint holds; ``EMAHook`` puts the averaged weights there.

    Args:
        runner: not during a validation, while weights may be exchanged.
        asking: the hook that wants to know; it is not asked itself.
    """
    model = bare_model(runner)
    changing = [
        hook
        for hook in runner.hooks
        if hook is not asking
        and type(hook).before_save_checkpoint is not Hook.before_save_checkpoint
    ]
    if not changing or isinstance(runner.model, ShardedDataParallel):
        return copied(deployable(model))  # EMAHook cannot copy a sharded model
    meta = {'epoch': runner.epoch, 'iter': runner.iter}
    checkpoint: dict[str, Any] = {
        'meta': meta, 'state_dict': copied(model.state_dict()), 'message_hub': {}, 'optimizer': {},
    }
    for hook in changing:
        hook.before_save_checkpoint(runner, checkpoint)
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    try:
        _put(model, checkpoint['state_dict'])
        return copied(deployable(model))
    finally:
        _put(model, own)


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Whether two states have the same names and bits (not a number equals itself)."""
    return first.keys() == second.keys() and all(
        tensor.shape == second[name].shape and torch.equal(_bits(tensor), _bits(second[name]))
        for name, tensor in first.items()
    )


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)


@torch.no_grad()
def _put(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    for name, tensor in model.state_dict().items():
        tensor.copy_(state[name])


def best_by(runner: Runner, metrics: Mapping[str, Any]) -> tuple[str, bool] | None:
    """The metric that the best weights are chosen by, and whether more is better.

    The one of ``save_best``, so that all files called best are of one validation; else the first
    of :data:`tasks.best_by()` that there is. None if none of them is among ``metrics``.

    Raises:
        ValueError: if ``save_best='auto'`` takes a metric of which mmengine does not know whether
            more is better.
    """
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and hook.save_best:
            name, rule = _first(hook, metrics)
            if name in metrics:
                return name, rule != 'less'
    name = next((name for name in tasks.best_by() if name in metrics), '')
    return (name, tasks.more_is_better(name)) if name else None


def _first(hook: CheckpointHook, metrics: Mapping[str, Any]) -> tuple[str, str]:
    """What a hook chooses by, also where it has still to look (``auto``)."""
    if 'auto' in hook.key_indicators and metrics:
        hook = copy.copy(hook)
        hook.is_better_than = dict(hook.is_better_than)
        hook._init_rule(hook.rules, [next(iter(metrics))])
    return hook.key_indicators[0], hook.rules[0]
