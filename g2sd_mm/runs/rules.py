"""Whether more or less of a metric is better: the task knows, whatever a config inherits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from mmengine.config import Config

from ..tasks import rule_of

#: Types of hooks and schedules that compare a metric by a ``rule``, by the start or end of a name.
_COMPARING = ('CheckpointHook', 'EarlyStoppingHook', 'ReduceOnPlateau')


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
