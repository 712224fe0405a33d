"""The loop, the checkpoints and the alarms that every run gets, and the rules of its metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from mmengine.config import Config

from ..config.parts import add_hook, fit_sampler
from ..engine.optimizers import fit_wrapper
from ..errors import UserError
from ..tasks import rule_of

#: Entry of ``reliability`` in a config -> hook that it has the arguments of.
_ALARMS = {
    'non_finite': 'NonFiniteHook', 'divergence': 'DivergenceHook', 'dry_run': 'DryRunHook',
    'teacher_metric': 'TeacherMetricHook',
}  # fmt: skip
#: Schedules that have to know how many iterations make an update.
_PER_UPDATE = ('WarmupCosineLR', 'WarmupPolyLR', 'WarmupMultiStepLR')
#: Types of hooks and schedules that compare a metric by a ``rule``, by the start or end of a name.
_COMPARING = ('CheckpointHook', 'EarlyStoppingHook', 'ReduceOnPlateau')


def make_reliable(cfg: Config) -> None:
    """Give a config the loop, the checkpoints and the alarms of this project, in place.

    Any config: a stock one has mmengine's. What it sets of them stays as it is; ``reliability`` in
    a config has their arguments, or None to leave one out.

    Raises:
        UserError: if ``reliability`` names an alarm that there is not, ``custom_hooks`` has
            something else than hooks, or ``optim_wrapper`` can train nothing here.
    """
    settings = cfg.get('reliability') or {}
    if unknown := set(settings) - set(_ALARMS):
        raise UserError(
            f'reliability has {", ".join(sorted(unknown))}: there are {", ".join(_ALARMS)}'
        )
    fit_wrapper(cfg.get('optim_wrapper') or {})
    loop = cfg.train_cfg
    if loop.pop('by_epoch', False) or loop.get('type') == 'EpochBasedTrainLoop':
        loop['type'] = 'ResumableEpochLoop'
    elif loop.setdefault('type', 'IterBasedTrainLoop') == 'IterBasedTrainLoop':
        loop['type'] = 'ResumableIterLoop'
    fit_sampler(cfg)
    _fit_schedules(cfg)
    defaults = {'checkpoint': dict(type='CheckpointHook', interval=1)}  # mmengine's own
    cfg.default_hooks = {**defaults, **(cfg.get('default_hooks') or {})}
    saving = cfg.default_hooks.checkpoint
    if saving and saving.get('type', 'CheckpointHook') == 'CheckpointHook':
        saving.type = 'WholeCheckpointHook'
    for loader in (cfg.train_dataloader, cfg.get('val_dataloader')):
        if loader and 'worker_init_fn' not in loader:
            loader.worker_init_fn = dict(
                type='patient_worker',
                seed=(cfg.get('randomness') or {}).get('seed'),
                disable_subprocess_warning=loader.pop('disable_subprocess_warning', False),
            )
    hooks = cfg.get('custom_hooks') or []
    listed = isinstance(hooks, (list, tuple))
    for hook in hooks if listed else [hooks]:
        if not listed or not isinstance(hook, Mapping) or 'type' not in hook:
            raise UserError(
                f'custom_hooks has {hook!r:.80}, and takes a list of hooks, each with its type and '
                'arguments: --cfg-options \'custom_hooks=[{"type": "EMAHook"}]\''
            )
    present = {hook['type'] for hook in hooks}
    for name, hook in _ALARMS.items():
        if hook not in present and settings.get(name, {}) is not None:
            add_hook(cfg, hook, **settings.get(name, {}))
    add_hook(cfg, 'PreemptionHook')


def _fit_schedules(cfg: Config) -> None:
    """Rates change between updates alone, however many iterations make one; in place."""
    schedules = cfg.get('param_scheduler') or ()
    counts = accumulation_of(cfg)
    for schedule in [schedules] if 'type' in schedules else schedules:
        if isinstance(schedule, dict) and schedule.get('type') in _PER_UPDATE:
            schedule['accumulation'] = counts


def accumulation_of(cfg: Config) -> int:
    """How many iterations make an update."""
    return (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)


def fit_rules(cfg: Config) -> list[str]:
    """Give what waits for a metric of a task that metric's rule, in place.

    ``save_best=d1`` on the command line would else keep the rule of the config's ``abs_rel``, of
    which less is better, and so the worst weights. A metric that no task has keeps its rule.

    Returns:
        a line for the log for each rule that said the contrary.
    """
    notes = []
    for place, part in _comparing(cfg):
        key = 'save_best' if 'save_best' in part else 'monitor'
        names = part.get(key)
        listed = [names] if isinstance(names, str) else list(names or ())
        given = part.get('rule')
        rules = [given] if given is None or isinstance(given, str) else list(given)
        if len(rules) == 1:
            rules = rules * len(listed)
        if len(rules) != len(listed):
            continue  # mmengine says what is wrong with it
        known = [rule_of(name) for name in listed]
        fitted = [of_task or rule for of_task, rule in zip(known, rules, strict=True)]
        if not listed or None in fitted or fitted == rules:
            continue
        part['rule'] = fitted[0] if isinstance(names, str) else fitted
        for name, rule, was in zip(listed, fitted, rules, strict=True):
            if was not in (None, rule):
                more = 'more' if rule == 'greater' else 'less'
                notes.append(
                    f'{place}.rule={was} does not fit {key}={name}, of which {more} is better: '
                    f'{rule} is taken'
                )
    return notes


def _comparing(cfg: Config) -> Iterator[tuple[str, MutableMapping[str, Any]]]:
    """Parts that compare a metric, with their places."""
    hooks, schedules = cfg.get('custom_hooks') or (), cfg.get('param_scheduler') or ()
    schedules = [schedules] if isinstance(schedules, Mapping) else schedules
    parts = [(f'default_hooks.{name}', hook) for name, hook in cfg.default_hooks.items()]
    parts += [(f'custom_hooks.{i}', hook) for i, hook in enumerate(hooks)]
    parts += [(f'param_scheduler.{i}', schedule) for i, schedule in enumerate(schedules)]
    for place, part in parts:
        if isinstance(part, MutableMapping) and ('save_best' in part or 'monitor' in part):
            kind = str(part.get('type'))
            if 'rule' in part or any(name in kind for name in _COMPARING):
                yield place, part
