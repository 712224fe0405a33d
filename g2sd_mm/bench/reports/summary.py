"""Mean and spread over seeds, retention of the teacher, paired differences and their intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import scipy.stats

from ...published import published
from ...tasks import TASKS
from .. import methods
from ..results import identity, judged_by

#: The table of rows that were trained on part of the labels.
LABELS = 'labels'

Figures = dict[int, float]  # seed -> figure


def t_quantile(freedom: int) -> float:
    """Two-sided 95 % quantile of Student's t for so many degrees of freedom."""
    return float(scipy.stats.t.ppf(0.975, freedom))


@dataclass(frozen=True)
class Line:
    """One method of one task over all seeds; ``values`` are the headline metric of ``seeds``.

    name: the method, with what else tells the row from its neighbours (student, ablation).
    of: seeds that any row of the report has; a line with fewer rests on less than the others.
    undefined: seeds whose figure is not a number (or infinite): in no mean and no comparison.
    published: the paper's figure, '' where there is none.
    milliseconds: of an image on a CPU; None where it was not measured.
    images_seen: by the row's last run, each as often as it is seen; None where that is not known.
    Times are the median over the seeds, each of its own: a seed beside which the machine did other
    work does not count for more than the others.
    """

    task: str
    method: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    retained: float | None
    params_m: float | None
    gflops: float | None
    own_seconds: float | None
    total_seconds: float | None
    errors: tuple[str, ...]
    of: int = 0
    name: str = ''
    student: str = ''
    table: str = 'main'
    setting: str = ''
    metric: str = ''
    published: str = ''
    images_seen: int | None = None
    undefined: tuple[int, ...] = ()
    milliseconds: float | None = None

    def of_seed(self, seed: int) -> float:
        """Its figure."""
        return self.values[self.seeds.index(seed)]

    @property
    def mean(self) -> float | None:
        """Mean over seeds."""
        return sum(self.values) / len(self.values) if self.values else None

    @property
    def lower_is_better(self) -> bool:
        """Whether its figures are errors."""
        return _is_error(self.task, self.metric)

    @property
    def half_width(self) -> float | None:
        """Half of the 95 % interval of the mean (Student's t); None for fewer than two seeds."""
        if self.spread is None:
            return None
        number = len(self.values)
        return t_quantile(number - 1) * self.spread / math.sqrt(number)

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over seeds; None for fewer than two."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


def summarise(rows: Sequence[dict[str, Any]], suite: str = '') -> list[Line]:
    """One :class:`Line` for each row of the table, in the order of first appearance.

    Args:
        rows: of ``results.json``.
        suite: the paper's rows get what is published for them.
    """
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(identity(row), []).append(row)
    # rows of files from before there was more than one student have no student
    several = len({key[1] for key in groups if key[2] != 'teacher'}) > 1
    seeds = {row['seed'] for row in rows}
    headlines = {task.headline for task in TASKS.values()}
    figures = {key: _figures(group) for key, group in groups.items()}
    lines = []
    for key, group in groups.items():
        task, student, method, table, setting = key
        good = sorted((r for r in group if 'error' not in r), key=lambda r: r['seed'])
        metric = judged_by(group[0])
        own = figures[key]
        teacher = _teacher(figures, key) if metric in headlines else None
        told = (method, student if several and method != 'teacher' else '', table, setting)
        lines.append(
            Line(
                task=task,
                method=method,
                seeds=tuple(own),
                values=tuple(own.values()),
                undefined=tuple(r['seed'] for r in good if r['seed'] not in own),
                retained=_retained(own, teacher, _is_error(task, metric)) if teacher else None,
                params_m=good[0]['params_m'] if good else None,
                gflops=good[0]['gflops'] if good else None,
                own_seconds=_median(r['train_seconds'] for r in good),
                total_seconds=_median(r['total_seconds'] for r in good),
                errors=tuple(r['error'] for r in group if 'error' in r),
                of=len(seeds),
                name=' '.join(part for part in told if part not in ('', 'main')),
                student=student,
                table=table,
                setting=setting,
                metric=metric,
                published=str(published(group[0], metric) or '') if suite == 'paper' else '',
                images_seen=good[0].get('images_seen') if good else None,
                milliseconds=_median(r['milliseconds'] for r in good if 'milliseconds' in r),
            )
        )
    return lines


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _figures(group: Sequence[dict[str, Any]]) -> Figures:
    """Of rows that differ by seed: seed -> what they are judged by, failed ones left out, and
    those whose figure is not a number: one of them would make all means and comparisons such."""
    good = sorted((row for row in group if 'error' not in row), key=lambda row: row['seed'])
    figures = {row['seed']: row['metrics'][judged_by(row)] for row in good}
    return {seed: value for seed, value in figures.items() if is_number(value)}


def is_number(value: Any) -> bool:
    """Whether a figure is a finite number; JSON may have null for one that is not."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def shown(value: Any) -> str:
    """A figure with two decimals, or in words that it is none."""
    if is_number(value):
        return f'{value:.2f}'
    return 'infinite' if isinstance(value, float) and math.isinf(value) else 'not a number'


def _teacher(figures: dict[tuple[str, ...], Figures], key: tuple[str, ...]) -> Figures | None:
    """The figures of the row's teacher: on the same test data, else of the main table."""
    task, _, _, *test = key
    found = [
        next((f for k, f in figures.items() if (k[0], k[2], k[3:]) == (task, 'teacher', w)), None)
        for w in (tuple(test), ('main', ''))
    ]
    return found[0] or (None if key[3] == 'robustness' else found[1])


def _is_error(task: str, metric: str) -> bool:
    return task in TASKS and TASKS[task].metric(metric).lower_is_better


def _retained(own: Figures, teacher: Figures, error: bool) -> float | None:
    """Percent of the teacher, over the seeds that both have; None if there is no such seed."""
    common = own.keys() & teacher.keys()
    ours, theirs = (sum(figures[seed] for seed in common) for figures in (own, teacher))
    return retained(ours, theirs, error)


def retained(own: float, teacher: float, error: bool) -> float | None:
    """Percent of the teacher's figure that is kept; None of nothing.

    Of errors the other way round: with twice the teacher's error half of it is kept.
    """
    if error:
        own, teacher = teacher, own
    return 100 * own / teacher if teacher else None


def verdicts(lines: Sequence[Line]) -> list[str]:
    """Plain sentences: the order that came out, and whether G2SD differs from its plain twin.

    The second also of the rows on a part of the labels, where the teacher may be worth more.
    """
    sentences = undefined_figures(lines)
    for task, finished in _finished(lines).items():
        sentences += [_order(task, finished), *_comparisons(task, finished)]
    few = [line for line in lines if line.table == LABELS and line.values]
    for task, setting in dict.fromkeys((line.task, line.setting) for line in few):
        part = [line for line in few if (line.task, line.setting) == (task, setting)]
        sentences += _comparisons(task, part)
    return sentences


def _comparisons(task: str, lines: Sequence[Line]) -> Iterator[str]:
    """What is compared in words, of rows that differ in method and student alone."""
    for student in dict.fromkeys(line.student for line in lines):
        own = {line.method: line for line in lines if line.student == student}
        for a, b in methods.claims(own, in_words=True):
            if a in own and b in own and (found := paired(own[a], own[b])):
                yield f'{task}: {_compared(found)}'


def undefined_figures(lines: Sequence[Line]) -> list[str]:
    """A sentence for each line with a figure that is not a number."""
    return [
        f'{line.task}: {line.metric} of {line.name} is not a number in seed'
        f'{"s" * (len(line.undefined) > 1)} {", ".join(map(str, line.undefined))}: '
        'left out of means and comparisons'
        for line in lines
        if line.undefined
    ]


def headlines(lines: Sequence[Line]) -> list[str]:
    """For each task what the student keeps of its teacher, at what share of size and time."""
    said = []
    for task, finished in _finished(lines).items():
        teacher = next((line for line in finished if line.method == 'teacher'), None)
        for line in finished:
            if line.method == 'g2sd' and teacher and line.retained is not None:
                twin = next((other for other in finished if other.method == 'g2sd_nosd'
                             and other.student == line.student), None)  # fmt: skip
                said.append(f'{TASKS[task].title}: {_headline(line, teacher, twin)}')
    return said


def _headline(line: Line, teacher: Line, twin: Line | None) -> str:
    unit = TASKS[line.task].metric(line.metric).unit
    shares = []
    if line.params_m and teacher.params_m:
        shares.append(f'{100 * line.params_m / teacher.params_m:.0f} % of the parameters')
    if line.milliseconds and teacher.milliseconds:
        shares.append(
            f'{100 * line.milliseconds / teacher.milliseconds:.0f} % of the time '
            f'({line.milliseconds:.1f} of {teacher.milliseconds:.1f} ms an image)'
        )
    elif line.gflops and teacher.gflops:
        shares.append(f'{100 * line.gflops / teacher.gflops:.0f} % of the arithmetic')
    common = [seed for seed in line.seeds if seed in teacher.seeds]
    ours, theirs = (statistics.mean(one.of_seed(s) for s in common) for one in (line, teacher))
    less = '' if line.seeds == teacher.seeds else f'; over the seeds that both have: {len(common)}'
    text = (
        f'{line.name} keeps {line.retained:.1f} % of its teacher ({line.metric} {ours:.1f} of '
        f'{theirs:.1f} {unit}'.rstrip() + f'{less})' + f' at {" and ".join(shares)}' * bool(shares)
    )
    found = paired(line, twin) if twin else None
    if found is None:
        return f'{text}.'
    half = found.half_width
    sure = 'one seed' if half is None else f'± {half:.1f}, 95 % interval'
    sure += '; less is better' if line.lower_is_better else ''
    return f'{text}; {found.mean:+.1f} against its plain twin ({sure}).'


def orders(lines: Sequence[Line]) -> list[str]:
    """For each task the order that came out, in a sentence."""
    return [_order(task, finished) for task, finished in _finished(lines).items()]


def _finished(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """The main rows that have a figure, by task."""
    main = [line for line in lines if line.table == 'main']
    tasks = dict.fromkeys(line.task for line in main)
    found = {task: [line for line in main if line.task == task and line.values] for task in tasks}
    return {task: finished for task, finished in found.items() if finished}


def _order(task: str, finished: Sequence[Line]) -> str:
    error = finished[0].lower_is_better
    order = sorted(finished, key=lambda line: line.mean or 0.0, reverse=not error)
    most = max(len(line.seeds) for line in finished)
    said = ''
    for line, before in zip(order, [None, *order], strict=False):
        if before is not None:
            said += ' = ' if line.mean == before.mean else ' < ' if error else ' > '
        said += f'{line.name} {line.mean:.2f}'
        said += f' ({len(line.seeds)} of {most} seeds)' * (len(line.seeds) < most)
    return f'{task} ({TASKS[task].headline}): {said}'


@dataclass(frozen=True)
class Difference:
    """``ahead - behind`` of one task, paired by seed.

    mean: over the seeds that both have.
    error: standard error of the mean; None for one seed.
    seeds: how many.
    lower_is_better: of errors, of which the claim is the other way round.
    """

    task: str
    ahead: str
    behind: str
    mean: float
    error: float | None
    seeds: int
    lower_is_better: bool

    @property
    def half_width(self) -> float | None:
        """Half of the 95 % interval (Student's t); None for one seed."""
        return None if self.error is None else t_quantile(self.seeds - 1) * self.error

    @property
    def verdict(self) -> str:
        """Whether the claim holds in these runs, and how surely."""
        gain = -self.mean if self.lower_is_better else self.mean
        word = 'holds' if gain > 0 else 'does not hold'
        if self.error is None:
            return f'{word} in one seed: more seeds tell whether that is chance'
        if abs(self.mean) <= self.error:
            return f'{word} on average, within one standard error: undecided'
        if self.half_width is not None and abs(self.mean) <= self.half_width:
            return f'{word}; more than a standard error, 95 % interval includes zero'
        return f'{word}; 95 % interval excludes zero'


def paired(a: Line, b: Line) -> Difference | None:
    """``a - b`` over the seeds that both have; None if there is none."""
    found = [a.of_seed(seed) - b.of_seed(seed) for seed in a.seeds if seed in b.seeds]
    if not found:
        return None
    number = len(found)
    error = statistics.stdev(found) / math.sqrt(number) if number > 1 else None
    mean = sum(found) / number
    return Difference(a.task, a.name, b.name, mean, error, number, a.lower_is_better)


def _compared(d: Difference) -> str:
    less = ', less is better' if d.lower_is_better else ''
    said = f'{d.ahead} - {d.behind} = {d.mean:+.2f}'
    if d.half_width is None:
        return f'{said}{less}, from one seed: more seeds (--seeds 0 1 2) tell whether it holds'
    zero = 'excludes' if abs(d.mean) > d.half_width else 'includes'
    return (
        f'{said} +- {d.error:.2f} (standard error over {d.seeds} seeds, paired{less}); '
        f'the 95 % interval {zero} zero'
    )


def differences(lines: Sequence[Line], table: str = 'main') -> list[Difference]:
    """Every claim that a table's rows speak to, by task, setting and student.

    Of a row of one's own: that it comes out ahead of G2SD, and of G2SD without stage 2.
    """
    found = []
    rows = [line for line in lines if line.table == table and line.values]
    for task, setting in dict.fromkeys((line.task, line.setting) for line in rows):
        own = [line for line in rows if (line.task, line.setting) == (task, setting)]
        teacher = next((line for line in own if line.method == 'teacher'), None)
        for student in dict.fromkeys(line.student for line in own if line.method != 'teacher'):
            by_method = {line.method: line for line in own if line.student == student}
            if teacher:
                by_method['teacher'] = teacher
            for ahead, behind in methods.claims(by_method):
                a, b = by_method.get(ahead), by_method.get(behind)
                if a and b and (difference := paired(a, b)):
                    found.append(difference)
    return found
