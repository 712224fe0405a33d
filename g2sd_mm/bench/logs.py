"""What runs logged along the way, from their work dirs or from a record's small files."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..engine.hooks.console import PROGRESS
from ..tasks import TASKS

Points = list[tuple[int, float]]
Entry = dict[str, Any]

#: Name of the embedded data, as a source of rows.
SHAPES = 'shapes'


@dataclass(frozen=True)
class Curve:
    """One run's way.

    Attributes:
        task, method, student, seed: of the row that the run ends in; for a run without labels the
            method is the run's name, task and student are empty.
        loss: (iteration, training loss).
        terms: of a run without labels that has several losses, as of several teachers, each one:
            name -> (iteration, its value).
        metric: (iteration, headline metric of the validation in percent).
    """

    task: str
    method: str
    seed: int
    loss: Points
    terms: dict[str, Points] = field(default_factory=dict)
    metric: Points = field(default_factory=list)
    student: str = ''


def curves(
    folder: Path, rows: Sequence[Mapping[str, Any]], source: str = SHAPES
) -> list[Curve]:
    """Curves of all runs: of ``seed<N>/<run>`` below ``folder``, else of ``rows/*.log``.

    Args:
        folder: of a suite, or of its record.
        rows: of ``results.json``, which say what run is which row's.
        source: what the rows were trained on; a record may have files of several.
    """
    main = [row for row in rows if row.get('table', 'main') == 'main']
    return [*_of_work_dirs(folder, main)] or [*_of_record(folder, main, source)]


def _of_work_dirs(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Iterator[Curve]:
    known = {(row['seed'], run_of(row)): row for row in rows}
    logged = [task.metrics[0].logged for task in TASKS.values()]
    for run in sorted(folder.glob('seed*/*')):
        seed = run.parent.name.removeprefix('seed')
        entries = read_scalars(run)
        aside = re.search(r'_before_\d+$', run.name)  # it was of another configuration
        if not entries or not seed.isdigit() or aside:
            continue
        row = known.get((int(seed), run.name))
        if row:
            yield _of_row(row, entries)
        elif not any(name in entry for entry in entries for name in logged):
            yield curve('', run.name, int(seed), entries)


def run_of(row: Mapping[str, Any]) -> str:
    """Name of a row's run: that of the folder with its weights, or of its config."""
    if row.get('checkpoint'):
        return Path(row['checkpoint']).parent.name
    return Path(row['config']).stem


def _of_record(
    folder: Path, rows: Sequence[Mapping[str, Any]], source: str
) -> Iterator[Curve]:
    for row in rows:
        names = (source, row['task'], row.get('student', ''), row['method'])
        log = folder / 'rows' / f'{"_".join(names)}_seed{row["seed"]}.log'
        if log.is_file():
            entries = [_entry(line) for line in log.read_text().splitlines() if line]
            yield _of_row(row, entries)


def _of_row(row: Mapping[str, Any], entries: Sequence[Entry]) -> Curve:
    # rows of files from before there was more than one student have no student
    return curve(row['task'], row['method'], row['seed'], entries, row.get('student', ''))


def read_scalars(run: Path) -> list[Entry]:
    """What a run logged (``<time>/vis_data/scalars.json``), one dict for each line.

    A run that was interrupted has several logs. Each begins where its checkpoint was taken: what
    the one before has beyond that was done again.
    """
    entries: list[Entry] = []
    for log in sorted(run.glob('*/vis_data/scalars.json')):
        later = _whole_lines(log.read_text().splitlines())
        entries = [*_before(later, entries), *later]
    return entries


def read_progress(run: Path) -> Entry | None:
    """How far a run says that it is, and when it said so; None where it does not."""
    try:
        state = json.loads((run / PROGRESS).read_text())
    except (OSError, ValueError):
        return None
    known = isinstance(state, dict) and isinstance(state.get('time'), (int, float))
    return state if known else None


def training_seconds(entries: Iterable[Entry]) -> float | None:
    """What the updates of a run took, by its log: without evaluations and waiting; None of none."""
    before, seconds = 0, 0.0
    for update, each in points(entries, 'time'):
        seconds, before = seconds + each * max(update - before, 0), max(update, before)
    return seconds or None


def _whole_lines(lines: Iterable[str]) -> list[Entry]:
    """The lines of a log, without one that was cut when its process was killed."""
    entries = []
    for line in lines:
        with contextlib.suppress(ValueError):
            entries.append(json.loads(line))
    return entries


def _before(later: Sequence[Entry], entries: list[Entry]) -> list[Entry]:
    """``entries`` up to where ``later`` begins; lines of training have ``iter``, others not."""
    first = next((entry['iter'] for entry in later if 'iter' in entry), None)
    if first is not None:
        entries = list(itertools.takewhile(lambda entry: entry.get('iter', 0) < first, entries))
    repeated = later and 'iter' not in later[0]  # the validation that belongs to the checkpoint
    while repeated and entries and 'iter' not in entries[-1]:
        entries.pop()
    return entries


def _entry(line: str) -> dict[str, float]:
    """``step 50: loss 1.2  lr 0.01`` as a dict."""
    step, _, values = line.partition(':')
    words = values.split()
    entry = {'iter': float(step.split()[-1])}
    return entry | {k: float(v) for k, v in zip(words[::2], words[1::2], strict=True)}


def points(entries: Iterable[Mapping[str, Any]], name: str, factor: float = 1) -> Points:
    """(iteration, value) of everything that was logged under a name.

    Validations stand where training was, whatever step they name.
    """
    found, now = [], 0
    for entry in entries:
        if 'loss' in entry:
            now = int(entry.get('iter', entry.get('step', now)))
        if isinstance(entry.get(name), (int, float)):
            found.append((now, factor * float(entry[name])))
    return found


def curve(
    task: str, method: str, seed: int, entries: Sequence[Entry], student: str = ''
) -> Curve:
    """The curve of what a run logged."""
    found = Curve(task, method, seed, points(entries, 'loss'), student=student)
    if task:
        metric = TASKS[task].metrics[0]
        return replace(found, metric=points(entries, metric.logged, metric.factor))
    terms = dict.fromkeys(key for entry in entries for key in entry if key.startswith('loss_'))
    if len(terms) > 1:  # else it is the loss
        return replace(found, terms={term: points(entries, term) for term in terms})
    return found
