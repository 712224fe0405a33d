"""Metrics that parts of a run look for: to choose the best, to stop, to lower the rate."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.runner import Runner

from ... import tasks


@dataclass(frozen=True)
class Watched:
    """A metric by name, and the entry of the config that names it.

    Attributes:
        name: of the metric.
        entry: where a person changes it.
        option: the same for ``--cfg-options``, if it has one.
    """

    name: str
    entry: str
    option: str = ''

    def cure(self, other: str | None) -> str:
        """What to do if there is no such metric.

        Args:
            other: the metric with the most similar name; None if there is none at all.
        """
        if self.option:
            return f'--cfg-options {self.option}={other}'  # None: no best checkpoint
        return f'take {other} there' if other else 'leave it out'


def watched(runner: Runner) -> Iterator[Watched]:
    """Every metric that a run would miss at its first validation."""
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and hook.save_best:
            for name in hook.key_indicators:
                if name != 'auto':
                    yield Watched(name, 'save_best', 'default_hooks.checkpoint.save_best')
        if isinstance(hook, EarlyStoppingHook) and hook.strict:
            yield Watched(hook.monitor, 'monitor of EarlyStoppingHook in custom_hooks')
    schedules = runner.param_schedulers or ()
    for schedule in schedules if isinstance(schedules, list) else ():
        if getattr(schedule, 'need_val_args', False) and schedule.by_epoch:
            yield Watched(
                schedule.monitor, f'monitor of {type(schedule).__name__} in param_scheduler'
            )


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
    return (name, True) if name else None


def _first(hook: CheckpointHook, metrics: Mapping[str, Any]) -> tuple[str, str]:
    """What a hook chooses by, also where it has still to look (``auto``)."""
    if 'auto' in hook.key_indicators and metrics:
        hook = copy.copy(hook)
        hook.is_better_than = dict(hook.is_better_than)
        hook._init_rule(hook.rules, [next(iter(metrics))])
    return hook.key_indicators[0], hook.rules[0]
