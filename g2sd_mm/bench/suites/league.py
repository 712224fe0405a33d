"""The league: the mini suite's rows and baselines, a third as long, from one set of teachers.

All of the mini suite's baselines would take a day of two cores. Here stage 1 and pre-training are a
third as long, detection and segmentation too, classification half, and the teachers are given: what
a seed then changes is the student alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..results import BASELINES
from .suites import PAPER_TASKS, Step, Suite

#: Task -> schedule of each of its rows; '' -> of each run without labels.
_LONG: dict[str, tuple[str, int]] = {
    '': ('max_epochs', 20),
    'cls': ('max_epochs', 10),
    'det': ('max_iters', 500),
    'seg': ('max_iters', 1300),
}
#: Runs that are parts of a row, or teach one: 7 + 3 are the 10 epochs of the other rows.
_PARTS = {
    'regnety_cls': ('cls', 20),
    'vits_tinybert_task': ('cls', 7),
    'vits_tinybert_cls': ('cls', 3),
}


def league_of(mini: Suite, given: str, teachers: dict[str, Step]) -> Suite:
    """The league of a suite with baselines.

    Args:
        mini: whose configs, rows and test data are taken.
        given: folder of the project with its teachers' files.
        teachers: name of such a teacher's run -> step that the file stands in for.
    """
    rows = tuple(
        row
        for row in mini.rows
        if row.task in PAPER_TASKS and row.table in ('main', BASELINES) and not row.probe
    )
    tasks = {row.step: row.task for row in rows}
    needed = {step.name for step in mini.steps_of(rows)}

    def steps() -> Iterator[Step]:
        for step in mini.steps:
            if step.name in teachers:
                yield teachers[step.name]
            elif step.name in needed:
                options = {**step.options, **_schedule(step.name, tasks.get(step.name, ''))}
                yield replace(step, options=options)

    return Suite(
        name='league',
        steps=tuple(steps()),
        rows=rows,
        seeds=(0, 1, 2),
        given=given,
        record='docs/results/mini/league',
        recipe=(
            'All rows are those of the mini suite, shorter: 20 epochs without labels (there 60), '
            '10 of classification (20), 500 updates of detection (1,500), 1,300 of segmentation '
            '(4,000). Their teachers are given, the same for all seeds: those of seed 0 of the '
            "mini suite; RegNetY, DeiT's, is trained for 20 epochs."
        ),
        tested=mini.tested,
    )


def _schedule(name: str, task: str) -> dict[str, Any]:
    kind, number = _PARTS.get(name, (task, 0))
    key, usual = _LONG[kind]
    long = number or usual
    return {
        f'train_cfg.{key}': long,
        **({'train_cfg.val_interval': long} if kind and name != 'vits_tinybert_task' else {}),
    }
