"""Fit a training checkpoint to the run that goes on from it, before mmengine takes it over.

mmengine restores counts, learning rates and schedules as they were saved, whatever the config says
now. Here they become what they are in the config's units (:mod:`g2sd_mm.engine.position`): the
config says what a run does from here on, the checkpoint what it has learnt. What is unchanged stays
untouched, to the last bit.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mmengine.optim import OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, Runner

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

#: Entry of a checkpoint's ``meta``: the kinds of its optimizers.
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


class _Part(NamedTuple):
    """An optimizer, its schedulers, and what a checkpoint has of both."""

    wrapper: Any
    saved: dict[str, Any]
    schedulers: list[Any]
    states: list[dict[str, Any]] | None


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
    meta = checkpoint.get('meta')
    if not isinstance(meta, dict) or 'optimizer' not in checkpoint:
        raise CheckpointError(
            'cannot resume: the file has weights, but no state of an optimizer, as a best '
            'checkpoint has none; --resume without a path takes the newest checkpoint of the work '
            f'dir, {_ANEW}'
        )
    now = units_of(runner)
    _check_kinds(runner, meta)
    old = read_position(meta, now)
    found = translate(old, now)
    notes = changes(old, found) + _keep_new_seed(runner, meta)
    if KEY not in meta:
        notes.insert(0, _NO_RECORD)
    meta['epoch'], meta['iter'] = found.epoch, found.iteration
    for part in _parts(runner, checkpoint):
        notes += _fit_part(part, old, found)
    return found, notes


def optimizer_kinds(wrapper: Any) -> dict[str, str]:
    """Names of the classes of a run's optimizers; the only one is called ``''``."""
    parts = dict(wrapper.items()) if isinstance(wrapper, OptimWrapperDict) else {'': wrapper}
    return {name: type(part.optimizer).__name__ for name, part in parts.items()}


def _check_kinds(runner: Runner, meta: Mapping[str, Any]) -> None:
    """Moments of one kind of optimizer are none of another, though they may have the same names.

    Raises:
        CheckpointError: if an optimizer is of another kind than the checkpoint records.
    """
    saved = meta.get(KINDS) or {}
    for name, kind in optimizer_kinds(runner.optim_wrapper).items():
        if (was := saved.get(name, kind)) != kind:
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


def _parts(runner: Runner, checkpoint: dict[str, Any]) -> Iterator[_Part]:
    wrapper, saved = runner.optim_wrapper, checkpoint['optimizer']
    schedulers = runner.param_schedulers or []
    states = checkpoint.get('param_schedulers')
    if not isinstance(wrapper, OptimWrapperDict):
        if schedulers and states is None:
            states = checkpoint['param_schedulers'] = []
        yield _Part(wrapper, saved, schedulers, states)
        return
    if not isinstance(saved, dict) or set(wrapper.keys()) - set(saved):
        raise CheckpointError(
            f'cannot resume: the config has the optimizers {", ".join(wrapper.keys())}, and the '
            f'checkpoint not all of them; resume with the config of the run, {_ANEW}'
        )
    if schedulers and not isinstance(states, dict):
        states = checkpoint['param_schedulers'] = {}
    for name, single in wrapper.items():
        known = schedulers.get(name, []) if isinstance(schedulers, dict) else schedulers
        kept = states.setdefault(name, []) if isinstance(states, dict) else states
        yield _Part(single, saved[name], known, kept)


def _fit_part(part: _Part, old: Position, found: Position) -> list[str]:
    _check_optimizer(part)
    scheduled = {scheduler.param_name for scheduler in part.schedulers}
    if 'momentum' in scheduled:
        scheduled.add('betas')
    before = _rate(part.saved)
    notes = _take_settings(part, scheduled)
    if any(getattr(scheduler, 'need_val_args', False) for scheduler in part.schedulers):
        if old.units != found.units or notes:
            notes.append(
                'a schedule that follows the metrics goes on as it was: its learning rate stays '
                'that of the checkpoint'
            )
        return notes
    if _schedules_are_unchanged(part, old, found):
        return notes
    _move(part.schedulers, found)
    part.states[:] = [scheduler.state_dict() for scheduler in part.schedulers]  # type: ignore
    for saved, live in zip(part.saved['param_groups'], _groups(part), strict=True):
        saved.update({name: live[name] for name in scheduled if name in live})
    base = getattr(part.wrapper, 'base_param_settings', None)
    if base is not None:
        part.saved['base_param_settings'] = base
    if (after := _rate(part.saved)) != before:
        notes.append(
            f'the learning rate is {after:.6g} here by the schedule of the config, and was '
            f'{before:.6g}'
        )
    return notes


def _groups(part: _Part) -> Sequence[dict[str, Any]]:
    return part.wrapper.optimizer.param_groups


def _check_optimizer(part: _Part) -> None:
    """Its state has to be one that the config's optimizer can go on from.

    Raises:
        CheckpointError: if it is of another kind, or of other parameters.
    """
    saved = part.saved.get('param_groups') if isinstance(part.saved, dict) else None
    live = _groups(part)
    name = type(part.wrapper.optimizer).__name__
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


def _take_settings(part: _Part, scheduled: set[str]) -> list[str]:
    """Settings of the config in the place of the checkpoint's, but for what schedules set."""
    changed: dict[str, tuple[Any, Any]] = {}
    for saved, live in zip(part.saved['param_groups'], _groups(part), strict=True):
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


def _schedules_are_unchanged(part: _Part, old: Position, found: Position) -> bool:
    """Whether the saved states are those that the config's schedules would have here."""
    states = part.states or []
    if len(states) != len(part.schedulers) or old.units != found.units:
        return not part.schedulers and not states
    return all(
        _settings(scheduler.state_dict()) == _settings(state)
        for scheduler, state in zip(part.schedulers, states, strict=True)
    ) and not any(isinstance(scheduler, ClosedFormLR) for scheduler in part.schedulers)


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
    states = checkpoint.get('param_schedulers') or []
    lists = states.values() if isinstance(states, dict) else [states]
    for state in itertools.chain.from_iterable(lists):
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
