"""A few updates of every run: it works on these data, and how long all of it will take."""

from __future__ import annotations

import json
import resource
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import RunError, UserError
from ...progress import Bars, duration
from ..logs import read_scalars
from ..suites.budget import step_work
from ..suites.data import OwnData
from ..suites.derived import smoke
from ..suites.run import run_suite
from ..suites.suites import Step
from .plan import Plan, make_plan, role_of

UPDATES = 8  # of a run; the first ones are slower and are not counted
_COUNTED = 4
#: Runs shorter than this share of the mini suite's are not worth their time.
LEAST_SCALE = 0.02
_MOST_SCALE = 4.0
#: Of the time that is allowed, training may plan with so much: validation and export need some.
_FOR_TRAINING = 0.85


@dataclass(frozen=True)
class Trial:
    """What was measured.

    update: run -> seconds of an update.
    start: run -> seconds beside the updates: libraries, building, writing.
    memory: bytes of the largest process, as far as the system tells.
    """

    update: Mapping[str, float]
    start: Mapping[str, float]
    memory: int

    def seconds_of(self, step: Step, data: OwnData) -> float:
        """That a run of the plan takes."""
        updates = step_work(step, data)[0].updates
        return self.start[step.name] + updates * self.update[step.name]


def try_out(plan: Plan, folder: Path, jobs: int, bars: Bars | None = None) -> Trial:
    """Every run of the plan for a few updates, and its evaluation on a few images.

    Args:
        plan: what is tried.
        folder: of the trial's runs; what was tried before is not tried again.
        jobs: runs at once, as in earnest.
        bars: that show how far it is.

    Raises:
        RunError: with the first error, if a run does not work.
    """
    suite = smoke(plan.suite, UPDATES)
    results = run_suite(
        suite, suite.rows, suite.seeds, folder, jobs=jobs, say=lambda line: None,
        data=plan.data, bars=bars,
    )  # fmt: skip
    failed = [row for row in results['rows'] if 'error' in row]
    if failed:
        raise RunError(f'a trial of a few updates failed: {failed[0]["error"]}')
    update, start = {}, {}
    for step in suite.steps_of(suite.rows):
        run = folder / f'seed{suite.seeds[0]}' / step.name
        logged = [entry for entry in read_scalars(run) if 'loss' in entry]
        times = [entry['time'] for entry in logged if 'time' in entry]
        update[step.name] = statistics.median(times[-_COUNTED:])
        start[step.name] = max(_seconds(run) - sum(times), 0.0)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return Trial(update, start, peak * (1 if sys.platform == 'darwin' else 1024))


def _seconds(run: Path) -> float:
    return float(json.loads((run / 'result.json').read_text())['train_seconds'])


def time_of(plan: Plan, trial: Trial, jobs: int) -> float:
    """Seconds that the plan's runs take, several at once, each after those that it needs."""
    free = [0.0] * jobs
    ended: dict[str, float] = {}
    for step in plan.steps():
        seconds = trial.seconds_of(step, plan.data)
        lane = min(range(jobs), key=free.__getitem__)
        begins = max(free[lane], *(ended[need] for need in step.needs), 0.0)
        ended[step.name] = free[lane] = begins + seconds
    return max(ended.values())


def fit_to_time(plan: Plan, trial: Trial, jobs: int) -> Plan:
    """The plan with the length of its runs fitted to the time that is allowed, if any is.

    Raises:
        UserError: if even very short runs take longer.
    """
    allowed = plan.wishes.seconds
    if allowed is None:
        return plan

    def made(scale: float) -> Plan:
        return make_plan(plan.wishes, plan.data, scale)

    most = plan.scale if plan.wishes.epochs else _MOST_SCALE
    low, high = min(LEAST_SCALE, most), most
    if (least := time_of(made(low), trial, jobs)) > allowed * _FOR_TRAINING:
        raise UserError(
            f'--time-budget {duration(allowed)} is too short: the shortest runs that are worth '
            f'anything take {duration(least / _FOR_TRAINING)} here'
        )
    if time_of(made(high), trial, jobs) > allowed * _FOR_TRAINING:
        for _ in range(20):
            middle = (low + high) / 2
            fits = time_of(made(middle), trial, jobs) <= allowed * _FOR_TRAINING
            low, high = (middle, high) if fits else (low, middle)
        scale = low
    else:
        scale = most
    fitted = made(scale)
    reason = f'time: {duration(allowed)} are allowed, of which training gets {_FOR_TRAINING:.0%}'
    return Plan(fitted.wishes, fitted.data, fitted.suite, fitted.scale, (*fitted.reasons, reason))


def measured(plan: Plan, trial: Trial, jobs: int) -> list[str]:
    """What the trial says of each run and of all of them, one line each."""
    lines = []
    for step in plan.steps():
        rate = step_work(step, plan.data)[0].batch / trial.update[step.name]
        seconds = duration(trial.seconds_of(step, plan.data))
        lines.append(f'{role_of(plan, step.name)}: {seconds} ({rate:,.0f} images/s)')
    whole = time_of(plan, trial, jobs)
    lines.append(
        f'together about {duration(whole)}, {jobs} run{"s" * (jobs > 1)} at a time'
        + (f', {trial.memory / 1e9:.1f} GB of memory each' if trial.memory else '')
    )
    return lines


def plain(trial: Trial) -> dict[str, Any]:
    """For JSON."""
    return {'update': dict(trial.update), 'start': dict(trial.start), 'memory': trial.memory}
