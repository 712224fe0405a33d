"""Tables of results: as text for the terminal, as Markdown, and as blocks of the report.

Those of the report are by task, by seed, by share of labels, by claim, and of what others
published.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...published import content, published
from ...tasks import TASKS
from ...text import aligned
from ..results import COMPARED
from .blocks import Block, Heading, Paragraph, Table
from .summary import LABELS, Difference, Line, differences, shown

_HEADER = ('task', 'method', 'metric', 'value', 'of teacher', 'params', 'GFLOPs', 'own', 'total')


def cells(line: Line) -> tuple[str, ...]:
    """One line's cells, in the order of the header."""
    value = figure(line)
    if not line.values:
        return (line.task, line.name, line.metric, value, *[''] * 5)
    if len(line.seeds) < line.of:
        undefined = f', {len(line.undefined)} not a number' if line.undefined else ''
        value += f' ({len(line.seeds)} of {line.of} seeds{undefined})'
    return (
        line.task,
        line.name,
        line.metric,
        value,
        f'{line.retained:.1f} %' if line.retained is not None else '',
        f'{line.params_m:.2f} M' if line.params_m is not None else '',
        f'{line.gflops:.2f}' if line.gflops is not None else '',
        *times(line),
    )


def figure(line: Line) -> str:
    """Mean and deviation, or in words that there is none."""
    if not line.values:
        return 'not a number' if line.undefined else 'failed'
    return f'{line.mean:.2f}' + (f' ± {line.spread:.2f}' if line.spread is not None else '')


def times(line: Line) -> tuple[str, str]:
    """Cells of a line's own time and of the total; empty where it is not known."""
    own, total = (
        '' if seconds is None else f'{seconds:.0f} s'
        for seconds in (line.own_seconds, line.total_seconds)
    )
    return own, total


def table(lines: Sequence[Line]) -> list[tuple[str, ...]]:
    """Header and rows; the paper's figures stand beside ours where there are any."""
    rows = [_HEADER, *map(cells, lines)]
    if not any(line.published for line in lines):
        return rows
    said = ['published', *(line.published for line in lines)]
    return [(*row[:4], figure, *row[4:]) for row, figure in zip(rows, said, strict=True)]


def text_table(lines: Sequence[Line]) -> str:
    """Aligned columns."""
    return aligned(table(lines))


_OTHER_TABLES = 'Other rows'
_FIGURES = (
    'Mean and sample deviation over seeds; percent of the teacher over the seeds that both have. '
    "Own time: of the row's last run; total: with the runs that it needs; each the median over the "
    'seeds.'
)
_STATISTICS = (
    'Differences are in points and paired by seed; of errors (<) less is better. '
    "Intervals are Student's t with one degree of "
    'freedom less than there are seeds, not corrected for the number of claims.'
)
_PART = (
    "The share is of the labelled images of each row's last run. Pre-training and stage 1 see all "
    'images, and the teacher of stage 2 was fine-tuned on all labels. In brackets: percent of it.'
)
_GAPS = (
    'It stays empty where no machine-readable source with the figure was found; '
    'docs/results/published.yaml gives source or reason for each.'
)
_PUBLISHED = (
    'The column "published" has what is known of the row, or of the public teacher. ' + _GAPS
)
_OTHER_DATA = (
    'The column "paper" is no comparison: its figures are of ViT-S, or of a public ViT-B teacher, '
    'on other and far larger data. ' + _GAPS
)


def result_tables(lines: Sequence[Line], suite: str) -> Iterator[Block]:
    """A table for each task's main rows, then one for each further table but that of labels."""
    main = [line for line in lines if line.table == 'main']
    for task in dict.fromkeys(line.task for line in main):
        own = [line for line in main if line.task == task]
        yield Heading(TASKS[task].title if task in TASKS else task)
        yield _results(own, suite)
    yield Paragraph(f'{_FIGURES} {_budgets(main)}'.rstrip(), 'note')
    yield Paragraph(_PUBLISHED if suite == 'paper' else _OTHER_DATA, 'note')
    for name in dict.fromkeys(line.table for line in lines):
        if name not in ('main', LABELS, *COMPARED):
            yield Heading(f'{_OTHER_TABLES}: {name}')
            yield _results([line for line in lines if line.table == name], suite)


def _results(lines: Sequence[Line], suite: str) -> Table:
    own = [cells(line) for line in lines]
    header = ['method', 'metric', 'ours', 'of teacher', 'params', 'GFLOPs', 'own time', 'total']
    rows = [list(row[1:]) for row in own]
    paper = TASKS[lines[0].task].paper
    # what else has nothing to stand beside it
    if paper and (suite == 'paper' or lines[0].table == 'main'):
        # figures on the paper's data, which ours are not of
        header.insert(4, 'published' if suite == 'paper' else f'paper ({paper.name})')
        for line, row in zip(lines, rows, strict=True):
            row.insert(4, _paper(line, suite))
    return Table(header, rows)


def _budgets(main: Sequence[Line]) -> str:
    """Whether student rows saw as many labelled images as G2SD's; '' where that is not known."""
    students = [line for line in main if line.method != 'teacher' and line.images_seen]
    own = [line for line in students if line.method == 'g2sd']
    seen = {(line.task, line.student): line.images_seen for line in own}
    others = [
        f'{line.task} {line.name} {images / base:.3g} times'
        for line in students
        if (base := seen.get((line.task, line.student)))
        and (images := line.images_seen)
        and base != images
    ]
    if not seen:
        return ''
    if others:
        return f"Labelled images that the last runs saw, of those of g2sd's: {', '.join(others)}."
    return "Every student row's last run saw as many labelled images as the others of its network."


def _paper(line: Line, suite: str) -> str:
    """The published figure, or share of the teacher's, of the row that this one stands for."""
    if suite == 'paper':
        return line.published
    student = 'vitb' if line.method == 'teacher' else 'vits'
    row = {'task': line.task, 'student': student, 'method': line.method}
    return str(published(row, TASKS[line.task].headline) or '')


def seed_table(lines: Sequence[Line]) -> Iterator[Block]:
    """The headline metric of every seed; nothing for a report of one seed."""
    seeds = sorted({seed for line in lines for seed in (*line.seeds, *line.undefined)})
    if len(seeds) < 2:
        return
    rows = []
    for line in lines:
        values = dict(zip(line.seeds, line.values, strict=True))
        undefined = dict.fromkeys(line.undefined, shown(None))
        words = {seed: shown(value) for seed, value in values.items()} | undefined
        figures = [words.get(seed, '') for seed in seeds]
        rows.append((line.task, line.name, line.metric, *figures))
    header = ('task', 'method', 'metric', *(f'seed {seed}' for seed in seeds))
    yield Heading('Seed by seed')
    yield Table(header, rows)


def order_table(lines: Sequence[Line], name: str = 'main') -> Iterator[Block]:
    """Every claim that a table's rows speak to, with its difference; nothing without a pair."""
    if found := differences(lines, name):
        yield Table(_CLAIM_HEADER, [claim_cells(each) for each in found])
        yield Paragraph(_STATISTICS, 'note')


_CLAIM_HEADER = ('task', 'claim', 'difference', 'standard error', 'seeds', 'verdict')


def claim_cells(difference: Difference) -> tuple[str, ...]:
    """A table row: task, claim, difference, standard error, seeds, verdict."""
    d = difference
    return (
        d.task,
        f'{d.ahead} {"<" if d.lower_is_better else ">"} {d.behind}',
        f'{d.mean:+.2f}',
        f'± {d.error:.2f}' if d.error is not None else '',
        str(d.seeds),
        d.verdict,
    )


def label_table(lines: Sequence[Line]) -> Iterator[Block]:
    """Rows on part of the labels beside the same methods on all of them; nothing without such rows.

    A row of table ``labels`` says in its setting what part it has (``10 %``).
    """
    part = [line for line in lines if line.table == LABELS]
    if not part:
        return
    settings = list(dict.fromkeys(line.setting for line in part))
    by_row: dict[tuple[str, str, str], dict[str, Line]] = {}
    for line in (*part, *(line for line in lines if line.table == 'main')):
        by_row.setdefault((line.task, line.student, line.method), {})[line.setting] = line
    rows = [
        (task, method, TASKS[task].headline, *(_value(own.get(s)) for s in (*settings, '')))
        for (task, _, method), own in by_row.items()
        if own.keys() & {*settings}
    ]
    yield Table(('task', 'method', 'metric', *settings, '100 %'), rows)
    yield Paragraph(_PART, 'note')
    yield from order_table(lines, LABELS)


def _value(line: Line | None) -> str:
    if not line:
        return ''
    share = f' ({line.retained:.1f} %)' if line.retained is not None else ''
    return cells(line)[3] + share


# metric -> heading; higher is better but for the last
_METRICS = {
    'top1': 'top1',
    'mIoU': 'mIoU',
    'bbox_mAP': 'box AP',
    'segm_mAP': 'mask AP',
    'imagenet_a': 'ImageNet-A',
    'imagenet_r': 'ImageNet-R',
    'imagenet_c': 'ImageNet-C, mCE (lower is better)',
}
_OTHERS = (
    "Other methods by their own sources, in percent. Their recipes differ from this suite's: "
    'neighbours of its rows, and no rows.'
)
_PROGRESS = 'Along the way, by which to tell early whether a run is healthy:'


def published_elsewhere() -> Iterator[Block]:
    """Tables of ``docs/results/published.yaml``: ``others``, a row a network, and ``progress``."""
    figures: dict[tuple[str, str, str], dict[str, float]] = {}
    for entry in content()['others']:
        network = entry['method'], entry['student'], entry['source']
        figures.setdefault(network, {})[entry['metric']] = entry['value']
    yield Paragraph(_OTHERS, 'note')
    yield Table(
        ('method', 'network', *_METRICS.values(), 'source'),
        [
            (method, student, *(_told(found.get(metric)) for metric in _METRICS), source)
            for (method, student, source), found in figures.items()
        ],
    )
    yield Paragraph(_PROGRESS, 'note')
    yield Table(
        ('config', 'figure', 'value', 'source'),
        [
            (entry['config'], entry['what'], _told(entry['value']), entry['source'])
            for entry in content()['progress']
        ],
    )


def _told(value: float | None) -> str:
    return '' if value is None else f'{value:g}'
