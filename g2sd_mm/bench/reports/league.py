"""League tables: the main rows of a task, and others beside them, with what each of them uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...tasks import TASKS
from ..results import ARITHMETIC, BASELINES, CHEAPER, COMPARED, IDENTITY
from .blocks import Block, Heading, Paragraph, Table
from .plots import arithmetic_chart
from .summary import Difference, Line, paired
from .tables import figure, times

_REFERENCE = 'g2sd'
_TITLES = {BASELINES: 'other systems', CHEAPER: 'less arithmetic'}
_HEADER = (
    'method', '- g2sd', '95 % interval', 'seeds', 'published', 'labels', 'teachers',
    'passes with labels', 'passes without', 'extra params', 'PFLOP', 'of teachers', 'own time',
    'total',
)  # fmt: skip
_HOW = (
    'Differences to g2sd are in points and paired by seed; intervals are Student\'s t with one '
    'degree of freedom less than there are seeds, not corrected for the number of rows. Passes are '
    'over the training images of the runs that the student itself went through; extra parameters '
    'are trained beside it and dropped. PFLOP is the arithmetic of these runs in 1e15 operations, '
    'forward and backward, with what teachers answer in them; beside it that of training the '
    'teachers. Own time is of the last run; total is with all runs that '
    'it needs, its teachers\' among them: the median over the seeds.'
)


def league_tables(
    lines: Sequence[Line],
    uses: Iterable[Mapping[str, Any]] = (),
    names: Sequence[str] = COMPARED,
) -> Iterator[Block]:
    """For each task with rows to compare all of its rows, the best first, and a picture of them.

    The picture sets what each row is worth against its arithmetic, where that was counted.

    Args:
        lines: of a report.
        uses: of ``results.json``: what its rows use.
        names: of the tables.
    """
    known = {tuple(use[name] for name in IDENTITY): use for use in uses}
    tables = [block for name in names for block in _tables(lines, known, name)]
    yield from tables
    if tables:
        yield Paragraph(_HOW, 'note')


def _tables(
    lines: Sequence[Line], known: Mapping[tuple[str, ...], Mapping[str, Any]], name: str
) -> Iterator[Block]:
    for task in dict.fromkeys(line.task for line in lines if line.table == name):
        own = [line for line in lines if line.task == task and line.table in ('main', name)]
        metric = own[0].metric
        yield Heading(f'{TASKS[task].title if task in TASKS else task}: {_TITLES[name]}')
        header = (_HEADER[0], metric, *_HEADER[1:])
        uses = {line.name: known.get(tuple(getattr(line, key) for key in IDENTITY)) for line in own}
        rows = [
            (*_figures(line, own), *_budget(uses[line.name]), *times(line)) for line in league(own)
        ]
        yield Table(header, rows)
        counted = []
        for line in own:
            pflop = (uses[line.name] or {}).get(ARITHMETIC[0])
            if pflop is not None and line.mean is not None:
                counted.append((replace(line, name=_short(line)), pflop))
        if len(counted) > 2:
            yield arithmetic_chart(counted)


def _short(line: Line) -> str:
    """Its name without that of the table, which is in the heading."""
    return line.name if line.table == 'main' else line.name.replace(f' {line.table}', '', 1)


def league(lines: Sequence[Line]) -> list[Line]:
    """Lines of one task, the best mean first, those without a figure last."""
    sign = 1.0 if lines[0].lower_is_better else -1.0
    return sorted(lines, key=lambda line: (line.mean is None, sign * (line.mean or 0.0)))


def to_reference(line: Line, lines: Sequence[Line]) -> Difference | None:
    """A line's paired difference to G2SD's of the same student; None without a common seed.

    A teacher's is to that of the only student.
    """
    references = [o for o in lines if (o.method, o.table) == (_REFERENCE, 'main')]
    if line.method == 'teacher' and len(references) > 1:
        return None
    for other in references:
        if other is line or (line.method != 'teacher' and other.student != line.student):
            continue
        if found := paired(line, other):
            return found
    return None


def _figures(line: Line, lines: Sequence[Line]) -> tuple[str, ...]:
    found, seeds = to_reference(line, lines), str(len(line.seeds))
    mean = between = ''
    if found:
        mean = f'{found.mean:+.2f}'
        if (half := found.half_width) is not None:
            between = f'{found.mean - half:+.2f} to {found.mean + half:+.2f}'
        if found.seeds < len(line.seeds):
            seeds += f' ({found.seeds} paired)'
    return _short(line), figure(line), mean, between, seeds, line.published


def _budget(use: Mapping[str, Any] | None) -> tuple[str, ...]:
    if use is None:
        return ('',) * 7
    return (
        'yes' if use['labels'] else 'no',
        ', '.join(use['teachers']) or 'none',
        f'{use["labelled"]:g}',
        f'{use["unlabelled"]:g}',
        f'{use["extra_params_m"]:.2f} M',
        # files from before they were counted have none
        *(f'{use[key]:.3g}' if use.get(key) is not None else '' for key in ARITHMETIC),
    )
