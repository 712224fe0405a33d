"""A few updates of every run: it works on these data, and how long all of it will take."""

from __future__ import annotations

import math
import re
import resource
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...errors import RunError, UserError
from ...image_files import files_below, is_image
from ...progress import Bars, duration
from ..logs import read_scalars
from ..suites.budget import raw_config, step_work
from ..suites.data import OwnData
from ..suites.derived import IMAGES, smoke
from ..suites.finished_runs import run_result
from ..suites.run import run_suite
from ..suites.suites import Step
from .kept_answers import share_asked, views_of
from .plan import Plan, make_plan, role_of

UPDATES = 8  # of a run; the first ones are slower and are not counted
_COUNTED = 4
#: Runs shorter than this share of the mini suite's are not worth their time.
LEAST_SCALE = 0.02
_MOST_SCALE = 4.0
#: Of the time that is allowed, runs may plan with so much: pictures and export need some.
_FOR_TRAINING = 0.85
#: Bytes that a run takes at least, and what is taken for it before it is measured.
_LEAST_MEMORY, _USUAL_MEMORY = 0.8e9, 1.5e9
_KILLED = re.compile(r'exit code (-9|137)\b')


@dataclass(frozen=True)
class Trial:
    """What was measured.

    Attributes:
        update: run -> seconds of an update.
        start: run -> seconds beside the updates: libraries, building, writing.
        memory: bytes of the largest process, as far as the system tells.
        evaluation: run -> seconds of its validation of all images, at the end.
        known: run -> seconds of an update whose answers of the teacher are on disk, where it keeps
            them.
    """

    update: Mapping[str, float]
    start: Mapping[str, float]
    memory: int
    evaluation: Mapping[str, float] = field(default_factory=dict)
    known: Mapping[str, float] = field(default_factory=dict)

    def seconds_of(self, step: Step, data: OwnData) -> float:
        """That a run of the plan takes, or, of a given file, its evaluation."""
        beside = self.start[step.name] + self.evaluation.get(step.name, 0.0)
        if step.file:
            return beside
        return beside + step_work(step, data)[0].updates * self.mean_update(step, data)

    def mean_update(self, step: Step, data: OwnData) -> float:
        """Seconds of an update in the whole of a run."""
        asked, update = share_asked(step, data), self.update[step.name]
        return asked * update + (1 - asked) * self.known.get(step.name, update)


def try_out(plan: Plan, folder: Path, jobs: int, bars: Bars | None = None) -> Trial:
    """Every run of the plan for a few updates, and its evaluation on a few images.

    What was tried before in the folder is not tried again.

    Raises:
        RunError: with the first error, if a run does not work.
        UserError: if the system ended one for want of memory.
    """
    short = smoke(plan.suite, UPDATES)
    suite = short.with_steps(lambda step: _in_passes(step, plan.data))
    results = run_suite(
        suite, suite.rows, suite.seeds, folder, jobs=jobs, say=lambda line: None,
        data=plan.data, bars=bars,
    )  # fmt: skip
    failed = [row for row in results['rows'] if 'error' in row]
    if failed:
        error = failed[0]['error']
        if _KILLED.search(error):
            raise UserError(
                f'the system ended a trial run, most likely for want of memory: end other '
                f'programs, or run fewer at once with --jobs 1 ({error})'
            )
        raise RunError(f'a trial of a few updates failed: {error}')
    validated = validation_images(plan.data)
    update, start, evaluation, known = {}, {}, {}, {}
    for step in suite.steps_of(suite.rows):
        run = folder / f'seed{suite.seeds[0]}' / step.name
        if step.file:
            continue
        logged = read_scalars(run)
        whole = run_result(run)['train_seconds']
        times = [entry['time'] for entry in logged if 'loss' in entry and 'time' in entry]
        half = len(times) // 2 if views_of(step) else len(times)
        update[step.name] = statistics.median(times[:half][-_COUNTED:])
        if views_of(step):
            known[step.name] = statistics.median(times[half:][-_COUNTED:])
        tested = [entry['time'] for entry in logged if 'loss' not in entry and 'time' in entry]
        start[step.name] = max(whole - sum(times), 0.0)
        if tested:
            loader = raw_config(step.config, step.options).val_dataloader
            each = statistics.median(tested) / min(loader.batch_size, IMAGES, validated)
            evaluation[step.name] = each * validated
    for step in suite.steps_of(suite.rows):
        if step.file:  # a link; of a network that is tested, a command of its own
            ends = any(row.step == step.name for row in suite.rows)
            start[step.name] = statistics.median(start.values()) if ends else 0.0
            evaluation[step.name] = max(evaluation.values(), default=0.0) if ends else 0.0
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    memory = peak * (1 if sys.platform == 'darwin' else 1024)
    return Trial(update, start, memory, evaluation, known)


def _in_passes(step: Step, data: OwnData) -> Step:
    """With as many passes as the updates need on few images; where a teacher's answers are kept,
    with twice as many: it is asked in the first half, and its answers are known in the second.
    """
    if step.file:
        return step
    views = passes = math.ceil(UPDATES / step_work(step, data)[0].updates)
    options = {}
    if views_of(step):
        options['train_dataloader.dataset.views'] = views
        passes = 2 * views
    if passes > 1:
        lengths = {'train_cfg.max_epochs', 'train_cfg.val_interval'} & set(step.options)
        options |= dict.fromkeys(lengths, passes)
    return replace(step, options={**step.options, **options})


def validation_images(data: OwnData) -> int:
    """How many there are."""
    layout = data.sources[0].layout
    val = layout.split('val') if layout else None
    return sum(is_image(path.name) for path in files_below(val.images)) if val else 0


def available_memory() -> float | None:
    """Bytes that new processes may take here, within a container's limit; None if nobody says."""
    found = []
    try:
        text = Path('/proc/meminfo').read_text()
        found += [1024.0 * int(kb) for kb in re.findall(r'^MemAvailable:\s+(\d+)', text, re.M)]
        group = Path('/sys/fs/cgroup')
        limit, used = ((group / f'memory.{name}').read_text() for name in ('max', 'current'))
        found += [float(limit) - float(used)] if limit.strip() != 'max' else []
    except (OSError, ValueError):
        pass  # another system, or another kind of limit
    return min(found, default=None)


def jobs_in_memory(jobs: int, each: float = _USUAL_MEMORY) -> int:
    """Runs at once that memory admits, at most ``jobs``.

    Raises:
        UserError: if there is too little for one.
    """
    free = available_memory()
    if free is None:
        return jobs
    if free < _LEAST_MEMORY:
        raise UserError(
            f'{free / 1e9:.1f} GB of memory are free and a run needs about '
            f'{max(each, _LEAST_MEMORY) / 1e9:.1f}: end other programs, or use a machine with more'
        )
    return max(1, min(jobs, int(free // max(each, 1.0))))


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
        return make_plan(plan.wishes, plan.data, scale, plan.networks)

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
    return replace(fitted, reasons=(*fitted.reasons, reason))


def measured(plan: Plan, trial: Trial, jobs: int) -> list[str]:
    """What the trial says of each run and of all of them, one line each."""
    lines = []
    for step in plan.steps():
        seconds = duration(trial.seconds_of(step, plan.data))
        rate = ''
        if not step.file:
            work = step_work(step, plan.data)[0]
            images = work.batch / trial.mean_update(step, plan.data)
            rate = f' ({images:,.0f} images/s)'
        lines.append(f'{role_of(plan, step.name)}: {seconds}{rate}')
    whole = time_of(plan, trial, jobs)
    lines.append(
        f'together about {duration(whole)}, {jobs} run{"s" * (jobs > 1)} at a time'
        + (f', {trial.memory / 1e9:.1f} GB of memory each' if trial.memory else '')
    )
    return lines
