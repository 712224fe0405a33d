"""What running a suite would mean: commands, GPU hours, and what is missing for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from .commands import (
    HERE,
    Launcher,
    evaluation_command,
    mixed_precision,
    train_command,
    write_config,
)
from .needed_data import TESTING, TRAINING, lacking
from .public_files import refuse_other
from .suites import Row, Step, Suite
from .throughput import NOT_MEASURED, Throughput
from .work import Work, raw_config, train_root, work_of, workload


def with_public_files(suite: Suite, folder: Path) -> Suite:
    """The suite in which published weights found in ``folder`` stand in for the runs of them.

    Raises:
        CheckpointError: if a file of that name is something else.
    """

    def change(step: Step) -> Step:
        file = folder / step.public
        if step.public and file.is_file():
            refuse_other(file, step)
            return replace(step, needs=(), file=str(file))
        return step

    return suite.with_steps(change)


def missing_data(suite: Suite, rows: Sequence[Row]) -> list[str]:
    """One line for each file or folder that the rows read and that is not there, or is empty."""
    trained = [step.config for step in suite.steps_of(rows) if not step.file]
    tested = [row.data or suite.step(row.step).config for row in rows]
    missing: dict[str, str] = {}
    for configs, splits in ((trained, TRAINING), (tested, TESTING)):
        for config in dict.fromkeys(configs):
            for place, how in lacking(config, splits).items():
                missing.setdefault(place, how)
    return [f'{place}: {how}' for place, how in missing.items()]


def missing_weights(suite: Suite, rows: Sequence[Row], folder: Path) -> list[str]:
    """One line for each published file that could stand in for a run and is not there."""
    return [
        f'{folder / step.public} ({step.origin}): {step.name} is trained instead'
        for step in suite.steps_of(rows)
        if step.public and not step.file
    ]


def describe(
    suite: Suite,
    rows: Sequence[Row],
    seeds: Sequence[int],
    folder: Path,
    weights: Path,
    launcher: Launcher,
    throughput: Throughput,
    resume: bool = False,
) -> Iterator[str]:
    """The lines of ``--dry-run``: a shell script, whose comments are for the reader.

    Args:
        suite, rows, seeds: what would be run; published files are in the steps already.
        folder: of the runs.
        weights: where published files are looked for.
        launcher, resume: see :func:`~g2sd_mm.bench.suites.commands.train_command`.
        throughput: measured images a second.
    """
    steps = list(suite.steps_of(rows))
    per_step = [_hours(step, launcher, throughput) for step in steps]
    yield f'# suite {suite.name}: {len(rows)} rows, {len(steps)} steps, seeds {_words(seeds)}'
    yield f'# throughput: {throughput.source}'
    for seed in seeds:
        runs = folder / f'seed{seed}'
        for number, (step, hours) in enumerate(zip(steps, per_step, strict=True), start=1):
            yield ''
            yield f'# {number}/{len(steps)} {step.name}: {_cost(step, hours)}'
            write_config(step, runs, launcher)
            yield train_command(step, seed, runs, launcher, resume)
        for same in _evaluations(rows):
            yield ''
            for row in same:
                yield f'# {row.table}: {row.task} {row.student} {row.method} {row.setting}'.rstrip()
            yield evaluation_command(suite.step(same[0].step), same[0], runs, launcher)
    yield ''
    yield from _totals(steps, per_step, len(seeds))
    yield (
        f'# GPU hours are of training alone: {len(_evaluations(rows)) * len(seeds)} evaluations '
        'are not counted'
    )
    missing = [*missing_data(suite, rows), *missing_weights(suite, rows, weights)]
    yield f'# missing: {len(missing) or "nothing"}'
    yield from (f'#   {line}' for line in missing)


def _evaluations(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows by what is evaluated: the default of an ablation is a row of the main table too."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.step, row.data), []).append(row)
    return list(found.values())


def _words(values: Sequence[int]) -> str:
    return ' '.join(map(str, values))


def _hours(step: Step, launcher: Launcher, throughput: Throughput) -> float | None:
    if step.file:
        return 0.0
    if not throughput.rates:
        return None
    cfg = raw_config(step.config, step.options)
    return throughput.gpu_hours(workload(cfg), mixed_precision(step, launcher), work_of(cfg))


def _cost(step: Step, hours: float | None) -> str:
    if step.file:
        return 'published weights'
    cfg = raw_config(step.config, step.options)
    spent = f'{hours:.1f} GPU hours' if hours is not None else 'GPU hours not measured'
    return f'{amount(work_of(cfg), train_root(cfg))}; {spent}'


def amount(work: Work, root: str) -> str:
    """What a run trains, in words; ``root`` is the folder of its data."""
    times = work.passes or 0.0
    passes = f'{times:.{0 if times >= 10 else 1}f} passes over {work.images:,} images'
    return (
        f'{passes if times else ""} of {root}, {work.updates:,.0f} updates of {work.batch:,}'
    ).lstrip()


def _totals(steps: Sequence[Step], hours: Sequence[float | None], seeds: int) -> Iterator[str]:
    known = sum(h for h in hours if h is not None)
    lacking = [step.name for step, h in zip(steps, hours, strict=True) if h is None]
    if known:
        yield f'# GPU hours of the steps that were measured: {known * seeds:,.1f}'
    if lacking:
        yield f'# GPU hours {NOT_MEASURED}: {len(lacking)} of {len(steps)} steps'


def local_commands(
    suite: Suite, rows: Sequence[Row], seeds: Sequence[int], folder: Path
) -> Iterator[str]:
    """The commands of a suite on this machine's cores; small configs that they name are written."""
    for seed in seeds:
        runs = folder / f'seed{seed}'
        for step in suite.steps_of(rows):
            write_config(step, runs, HERE)
            yield train_command(step, seed, runs, HERE)
        for row in rows:
            if row.data:
                yield evaluation_command(suite.step(row.step), row, runs, HERE)
