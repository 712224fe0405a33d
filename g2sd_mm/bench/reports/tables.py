"""The report's tables of figures: by task, by seed, by share of labels, by claim."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...published import published
from ...tasks import TASKS
from .blocks import Block, Heading, Paragraph, Table
from .differences import HEADER, Difference, cells, differences
from .summary import LABELS, Line, shown
from .table import cells as line_cells

_OTHER_TABLES = 'Other rows'
_FIGURES = (
    'Mean and sample deviation over seeds; percent of the teacher over the seeds that both have. '
    "Own time: of the row's last run; total: with the runs that it needs; each the median over the "
    'seeds.'
)
_STATISTICS = (
    "Differences are in points and paired by seed. Intervals are Student's t with one degree of "
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
        if name not in ('main', LABELS):
            yield Heading(f'{_OTHER_TABLES}: {name}')
            yield _results([line for line in lines if line.table == name], suite)


def _results(lines: Sequence[Line], suite: str) -> Table:
    own = [line_cells(line) for line in lines]
    header = ['method', 'metric', 'ours', 'of teacher', 'params', 'GFLOPs', 'own time', 'total']
    rows = [list(row[1:]) for row in own]
    if suite == 'paper' or lines[0].table == 'main':  # what else has nothing to stand beside it
        header.insert(4, 'published' if suite == 'paper' else _papers_data(lines[0].task))
        for line, row in zip(lines, rows, strict=True):
            row.insert(4, _paper(line, suite))
    return Table(header, rows)


def _papers_data(task: str) -> str:
    """Heading of figures that are not of the data that ours are of."""
    return f'paper ({TASKS[task].paper.name})'


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


def order_table(lines: Sequence[Line]) -> Iterator[Block]:
    """Every claim of the paper's order with its paired difference; nothing without a pair."""
    return _claims(differences(lines))


def _claims(found: Sequence[Difference]) -> Iterator[Block]:
    if found:
        yield Table(HEADER, [cells(each) for each in found])
        yield Paragraph(_STATISTICS, 'note')


def label_table(lines: Sequence[Line]) -> Iterator[Block]:
    """Rows on part of the labels beside the same methods on all of them; nothing without such rows.

    A row of table ``labels`` says in its setting what part it has (``10 %``).
    """
    part = [line for line in lines if line.table == LABELS]
    if not part:
        return
    settings = list(dict.fromkeys(line.setting for line in part))
    whole = {
        (line.task, line.student, line.method): line for line in lines if line.table == 'main'
    }
    rows = []
    for key in dict.fromkeys((line.task, line.student, line.method) for line in part):
        task, _, method = key
        own = {line.setting: line for line in part if _key(line) == key}
        figures = [_value(own.get(setting)) for setting in settings]
        rows.append((task, method, TASKS[task].headline, *figures, _value(whole.get(key))))
    yield Table(('task', 'method', 'metric', *settings, '100 %'), rows)
    yield Paragraph(_PART, 'note')
    yield from _claims(differences(lines, LABELS))


def _key(line: Line) -> tuple[str, str, str]:
    return line.task, line.student, line.method


def _value(line: Line | None) -> str:
    if not line:
        return ''
    share = f' ({line.retained:.1f} %)' if line.retained is not None else ''
    return line_cells(line)[3] + share
