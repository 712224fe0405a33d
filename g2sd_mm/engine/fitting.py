"""Fit a training checkpoint to the run that goes on from it, before mmengine takes it over.

mmengine restores counts, learning rates and schedules as they were saved, whatever the config says
now. Here they become what they are in the config's units (:mod:`g2sd_mm.engine.position`): the
config says what a run does from here on, the checkpoint what it has learnt. What is unchanged stays
untouched, to the last bit.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.runner import EpochBasedTrainLoop, Runner

from ..compat.resume_data import check_resumable
from ..compat.safe_load import CheckpointError
from .position import (
    KEY,
    Position,
    Units,
    changes,
    images_of_iteration,
    iterations_of_update,
    read_position,
    translate,
)
from .schedules import ClosedFormLR

#: Entry of a checkpoint's ``meta``: the kind of its optimizer, under ``''``.
KINDS = 'optimizers'
#: What a scheduler's state holds beside its settings.
_MOVING = {'last_step', '_global_step', '_last_value', 'verbose', 'optimizer'}
#: Settings of an optimizer that belong to the machine or to torch's version, not to the recipe.
_MACHINE = {'params', 'foreach', 'fused', 'capturable', 'differentiable', 'maximize'}
#: Settings by which the state of optimizers differs in kind.
_KINDS = {'betas', 'momentum', 'alpha', 'rho', 'lr_decay', 'lambd', 'history_size'}
_NO_RECORD = (
    'the checkpoint does not record its batch, processes and images, as those of version 0.1 do '
    'not: they are taken to be those of now, as far as its counts allow'
)
_ANEW = 'or start anew from its weights with --cfg-options load_from=FILE'


def units_of(runner: Runner) -> Units:
    """What a runner counts in; its training loop has to be built."""
    loop, loader = runner.train_loop, runner.train_dataloader
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    return Units(
        by_epoch=by_epoch,
        end=int(loop.max_epochs if by_epoch else loop.max_iters),
        epoch_length=len(loader),
        dataset=len(loader.dataset),
        batch=images_of_iteration(loader),
        processes=runner.world_size,
        accumulation=iterations_of_update(runner),
    )


def fit_checkpoint(runner: Runner, checkpoint: dict[str, Any]) -> tuple[Position, list[str]]:
    """Change a loaded checkpoint in place so that this run goes on from it as its config says.

    Args:
        runner: about to resume, with loop, optimizer and schedules built.
        checkpoint: whole content of the file.

    Returns:
        where the run is now, and lines for the log on what changed and what that means.

    Raises:
        CheckpointError: if the file cannot be resumed with this config.
        UserError: if nothing would be left to train.
    """
    check_resumable(checkpoint, runner._load_from, optimizer=True)
    meta, now = checkpoint['meta'], units_of(runner)
    _check_kind(runner, meta)
    old = read_position(meta, now)
    found = translate(old, now)
    notes = changes(old, found) + _keep_new_seed(runner, meta)
    if KEY not in meta:
        notes.insert(0, _NO_RECORD)
    meta['epoch'], meta['iter'] = found.epoch, found.iteration
    return found, notes + _fit_state(runner, checkpoint, old, found)


def _check_kind(runner: Runner, meta: Mapping[str, Any]) -> None:
    """Moments of one kind of optimizer are none of another, though they may have the same names."""
    kind = type(runner.optim_wrapper.optimizer).__name__
    if (was := (meta.get(KINDS) or {}).get('', kind)) != kind:
        raise CheckpointError(
            f'cannot resume: the config has the optimizer {kind}, and the checkpoint is of '
            f'{was}; give optim_wrapper.optimizer as it was, {_ANEW}'
        )


def _keep_new_seed(runner: Runner, meta: dict[str, Any]) -> list[str]:
    """The config's seed counts, since the order of images has it already."""
    now, was = runner._randomness_cfg.get('seed'), meta.get('seed')
    if now is None or was in (None, now):
        return []
    meta['seed'] = now
    return [
        f'changed since the checkpoint: seed: {was}, now {now}: from here on order, augmentation '
        'and masks are drawn with it'
    ]


def _fit_state(
    runner: Runner, checkpoint: dict[str, Any], old: Position, found: Position
) -> list[str]:
    """Fit what the checkpoint has of the optimizer and its schedules; gives lines for the log."""
    wrapper, saved = runner.optim_wrapper, checkpoint['optimizer']
    groups, schedulers = wrapper.optimizer.param_groups, runner.param_schedulers or []
    _check_groups(type(wrapper.optimizer).__name__, groups, saved)
    scheduled = {scheduler.param_name for scheduler in schedulers}
    if 'momentum' in scheduled:
        scheduled.add('betas')
    before = _rate(saved)
    notes = _take_settings(groups, saved, scheduled)
    if any(getattr(scheduler, 'need_val_args', False) for scheduler in schedulers):
        if old.units != found.units or notes:
            notes.append(
                'a schedule that follows the metrics goes on as it was: its learning rate stays '
                'that of the checkpoint'
            )
        return notes
    states = checkpoint.get('param_schedulers') or []
    if _schedules_are_unchanged(schedulers, states, old, found):
        return notes
    _move(schedulers, found)
    checkpoint['param_schedulers'] = [scheduler.state_dict() for scheduler in schedulers]
    for was, live in zip(saved['param_groups'], groups, strict=True):
        was.update({name: live[name] for name in scheduled if name in live})
    base = getattr(wrapper, 'base_param_settings', None)
    if base is not None:
        saved['base_param_settings'] = base
    if (after := _rate(saved)) != before:
        notes.append(
            f'the learning rate is {after:.6g} here by the schedule of the config, and was '
            f'{before:.6g}'
        )
    return notes


def _check_groups(name: str, live: Sequence[dict[str, Any]], state: Any) -> None:
    """The saved state has to be one that the config's optimizer can go on from.

    Raises:
        CheckpointError: if it is of another kind, or of other parameters.
    """
    saved = state.get('param_groups') if isinstance(state, dict) else None
    if not saved:
        raise CheckpointError(f'cannot resume: the state of the optimizer is empty; {_ANEW}')
    if (kind := _KINDS & set(live[0])) != (was := _KINDS & set(saved[0])):
        raise CheckpointError(
            f'cannot resume: the config has the optimizer {name} ({", ".join(sorted(kind))}), and '
            f'the checkpoint is of one with {", ".join(sorted(was)) or "none of them"}; give '
            f'optim_wrapper.optimizer as it was, {_ANEW}'
        )
    sizes = [[len(group['params']) for group in groups] for groups in (live, saved)]
    if sizes[0] != sizes[1]:
        raise CheckpointError(
            f'cannot resume: the optimizer of the config trains {sum(sizes[0])} parameters in '
            f'{len(sizes[0])} groups, that of the checkpoint {sum(sizes[1])} in {len(sizes[1])}: '
            f'frozen stages or optim_wrapper.paramwise_cfg differ; give them as they were, {_ANEW}'
        )
    for group, was in zip(live, saved, strict=True):
        names = [[*map(_plain_name, each.get('param_names') or ())] for each in (group, was)]
        moved = [(new, old) for new, old in zip(*names, strict=False) if new != old]
        if moved:
            raise CheckpointError(
                'cannot resume: the groups of the optimizer are as large as those of the '
                f'checkpoint and have other parameters ({moved[0][0]} in the place of '
                f'{moved[0][1]}): optim_wrapper.paramwise_cfg or frozen stages differ; give them '
                f'as they were, {_ANEW}'
            )


def _plain_name(parameter: str) -> str:
    return parameter.replace('_orig_mod.', '').replace('module.', '')


def _take_settings(
    groups: Sequence[dict[str, Any]], state: dict[str, Any], scheduled: set[str]
) -> list[str]:
    """Settings of the config in the place of the checkpoint's, but for what schedules set."""
    changed: dict[str, tuple[Any, Any]] = {}
    for saved, live in zip(state['param_groups'], groups, strict=True):
        for name in live.keys() - scheduled - {'params', 'param_names'}:
            was, value = saved.get(name), live[name]
            if _plain(was) != _plain(value):
                saved[name] = value
                if name not in _MACHINE and was is not None:
                    changed.setdefault(name, (was, value))
    words = {'initial_lr': 'base learning rate', 'lr': 'learning rate'}
    return [
        f'changed since the checkpoint: {words.get(name, name)}: {was}, now {value} (of the first '
        'group of parameters in which it differs)'
        for name, (was, value) in sorted(changed.items())
    ]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _rate(saved: Mapping[str, Any]) -> float:
    return max(float(group['lr']) for group in saved['param_groups'])


def _schedules_are_unchanged(
    schedulers: Sequence[Any], states: Sequence[Any], old: Position, found: Position
) -> bool:
    """Whether the saved states are those that the config's schedules would have here."""
    if len(states) != len(schedulers) or old.units != found.units:
        return not schedulers and not states
    return all(
        _settings(scheduler.state_dict()) == _settings(state)
        for scheduler, state in zip(schedulers, states, strict=True)
    ) and not any(isinstance(scheduler, ClosedFormLR) for scheduler in schedulers)


def _settings(state: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _plain(value)
        for name, value in state.items()
        if name not in _MOVING and not callable(value)
    }


def keep_plain_states(checkpoint: dict[str, Any]) -> None:
    """Take functions out of the states of schedules, in place.

    mmengine's ``OneCycleLR`` puts one there, and no reader that runs no code would take the file.
    """
    for state in checkpoint.get('param_schedulers') or []:
        for name in [name for name, value in state.items() if callable(value)]:
            del state[name]


def _move(schedulers: Sequence[Any], found: Position) -> None:
    """Bring newly built schedulers to a position, as a run without a break would have."""
    if all(isinstance(scheduler, ClosedFormLR) for scheduler in schedulers):
        for scheduler in schedulers:
            scheduler.move_to(found.epoch if scheduler.by_epoch else found.iteration)
        return
    # mmengine's are defined from one step to the next: make the steps, in the order of a run
    by_iteration = [scheduler for scheduler in schedulers if not scheduler.by_epoch]
    by_epoch = [scheduler for scheduler in schedulers if scheduler.by_epoch]
    length = found.units.epoch_length
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # that the optimizer did not step
        for iteration in range(1, found.iteration + 1) if by_iteration else ():
            for scheduler in by_iteration:
                scheduler.step()
            if by_epoch and iteration % length == 0 and iteration // length <= found.epoch:
                for scheduler in by_epoch:
                    scheduler.step()
        for _ in range(0 if by_iteration else found.epoch):
            for scheduler in by_epoch:
                scheduler.step()
