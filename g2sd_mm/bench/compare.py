"""Runs side by side, made by hand or by a suite: figures, what differs in their configs, curves."""

from __future__ import annotations

import ast
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..checkpoints.record import read_sidecar
from ..config.flat import as_written, flat
from ..errors import UserError
from ..provenance import READING
from ..tasks import TASKS, Metric, Task, task_of
from ..text import aligned, printable, telling_names
from .logs import Entry, Points, points, read_scalars, run_of, training_seconds
from .reports.blocks import Figure as Drawing
from .reports.blocks import Paragraph, Section, Table
from .reports.page import page
from .reports.plots import losses, svg
from .results import read_results

#: Entries of configs that change no result, say where something lies or what happened, or were
#: copied to where they count.
IGNORED = READING | {
    'data_layout', 'experiment_name', 'launcher', 'log_level', 'notes', 'test_pipeline',
    'train_pipeline', 'val_pipeline', 'visualizer', 'work_dir', '_folder',
}  # fmt: skip
#: What a cell has where a run has no such figure or entry.
ABSENT = '-'

Rows = list[tuple[str, ...]]


@dataclass(frozen=True)
class Run:
    """What a run's folder says.

    Attributes:
        folder: of the run.
        name: by which it is told from the others.
        record: content of ``weights.json``; empty if there is none.
        config: entries of the config as it ran, dotted key -> value as text.
        log: what it logged, one dict a line.
        row: its row of the suite's ``results.json``; empty for a run made by hand.
        task: None for a run without labels.
        missing: what is not there, in words.
    """

    folder: Path
    name: str
    record: Mapping[str, Any]
    config: Mapping[str, str]
    log: Sequence[Entry]
    row: Mapping[str, Any]
    task: Task | None
    missing: tuple[str, ...]

    def points(self, logged: str, factor: float = 1) -> Points:
        """(iteration, value) of everything that was logged under a name."""
        return points(self.log, logged, factor)


def read_runs(folders: Sequence[str | Path]) -> list[Run]:
    """The runs in some folders.

    Raises:
        UserError: for less than two, or a folder that is no run; the message says what it lacks.
    """
    paths = [Path(folder).expanduser() for folder in folders]
    whole = [path.resolve() for path in paths]
    if len(set(whole)) < 2 or len(set(whole)) < len(whole):
        raise UserError('give at least two folders of runs, each once')
    return [_read_run(path, name) for path, name in zip(paths, telling_names(whole), strict=True)]


def _read_run(folder: Path, name: str) -> Run:
    if not folder.is_dir():
        raise UserError(f'no folder {printable(str(folder))}: give the folders of runs')
    record = read_sidecar(folder / 'weights.pth') or {}
    config = config_of(folder)
    log = read_scalars(folder)
    lacks = {
        'weights.json (it has not ended)': record, 'config (TIME/vis_data/config.py)': config,
        'log (TIME/vis_data/scalars.json)': log,
    }  # fmt: skip
    missing = tuple(what for what, there in lacks.items() if not there)
    if len(missing) == len(lacks):
        inside = sorted(folder.glob('seed*/*')) if (folder / 'results.json').is_file() else []
        cure = f', but of a suite: give its runs, such as {inside[0]}' if inside else ''
        raise UserError(f'{folder} is not the folder of a run{cure} (no {", no ".join(missing)})')
    known = (record.get('network') or {}).get('task')
    task, model = next((t for t in TASKS.values() if t.name == known), None), config.get('model')
    if task is None and 'backbone' in (model or {}):
        task = task_of(config.get('default_scope'), model)
    row = _row(folder)
    entries = {key: str(value) for key, value in flat(config, IGNORED)}
    return Run(folder, name, record, entries, log, row, task, missing)


def _row(folder: Path) -> Mapping[str, Any]:
    """The main row that a suite made of a run: ``<suite>/seed<N>/<run>``."""
    place = folder.resolve()
    results = place.parent.parent / 'results.json'
    seed = place.parent.name.removeprefix('seed')
    if not seed.isdecimal() or not results.is_file():
        return {}
    try:
        rows = read_results(results)['rows']
    except UserError:  # other people's files have that name too
        return {}
    mine = (row for row in rows if row['seed'] == int(seed) and run_of(row) == place.name)
    return next((row for row in mine if row.get('table', 'main') == 'main'), {})


# Configs ------------------------------------------------------------------------------------------


def config_of(folder: Path) -> dict[str, Any]:
    """The newest config that a run's folder has, as written; empty if there is none."""
    texts = list(folder.glob('*/vis_data/config.py')) or list(folder.glob('*.py'))
    trained = [text for text in texts if text.with_name('scalars.json').is_file()]  # not tested
    return as_written(read_config(max(trained or texts))) if texts else {}


def read_config(file: Path) -> dict[str, Any]:
    """The config that a run wrote down: assignments of plain values, which are read and not run.

    Raises:
        UserError: if there is anything else in it.
    """
    try:
        lines = ast.parse(file.read_text(encoding='utf-8')).body
        return {_target(line): _value(line.value) for line in lines if isinstance(line, ast.Assign)}
    except (OSError, SyntaxError, TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f'{file} is no config as a run writes it ({error}): put back the file, or take it away'
        ) from error


def _target(line: ast.Assign) -> str:
    (target,) = line.targets
    if not isinstance(target, ast.Name):
        raise ValueError(f'line {line.lineno} is no assignment to a name')
    return target.id


def _value(node: ast.expr) -> Any:
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return {str(_value(k)): _value(v) for k, v in zip(node.keys, node.values, strict=True) if k}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        # a dict with a key that is no name of Python's is written dict({...})
        given = {key: item for part in node.args for key, item in dict(_value(part)).items()}
        return {**given, **{str(word.arg): _value(word.value) for word in node.keywords}}
    if isinstance(node, ast.Name):
        return node.id  # nan, inf
    if isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Name):
        return f'-{_value(node.operand)}'  # -inf
    return ast.literal_eval(node)


def differences(runs: Sequence[Run]) -> Rows:
    """Key and each run's value, of every entry that is not the same in all that have a config."""
    known = [run.config for run in runs if run.config]
    keys = dict.fromkeys(key for config in known for key in config)
    return [
        (printable(key), *(printable(run.config.get(key, ABSENT)) for run in runs))
        for key in sorted(keys)
        if len({config.get(key) for config in known}) > 1
    ]


# Figures ------------------------------------------------------------------------------------------


def figures(runs: Sequence[Run]) -> Rows:
    """A row for each figure that any run has: its name, and a cell for each run.

    Metrics of the later runs have their difference to the first run's in brackets.
    """
    names = [task.name if (task := run.task) else 'no labels' for run in runs]
    rows: Rows = [('task', *names)]
    origins = [run.record.get('origin') or {} for run in runs]
    for title in ('seed', 'commit'):
        rows.append((title, *(_word(origin.get(title)) for origin in origins)))
    # a run that counts iterations is in epoch 0 all the time
    rows.append(('epochs', *(_word(origin.get('epoch') or None) for origin in origins)))
    made = [  # the last ones of a run are in its record, and mostly not in its log
        max((origin.get('iter') or 0, *(iteration for iteration, _ in run.points('loss'))))
        for run, origin in zip(runs, origins, strict=True)
    ]
    rows.append(('iterations', *(_word(number or None) for number in made)))
    for task in TASKS.values():
        for metric in task.metrics:
            points = [_measured(run, task, metric) for run in runs]
            unit = f' ({metric.unit})' if metric.unit else ''
            rows.append((f'{metric.name}{unit}, last', *_compared([_last(p) for p in points])))
            if metric is task.metrics[0]:
                best = min if metric.lower_is_better else max
                found = [best((v for _, v in p if not math.isnan(v)), default=None) for p in points]
                rows.append((f'{metric.name}{unit}, best', *_compared(found)))
        for metric in task.metrics:
            own = (run.row.get('metrics') if run.task is task else None for run in runs)
            tested = [(metrics or {}).get(metric.name) for metrics in own]
            rows.append((f'{metric.name}, results.json', *_compared(tested)))
    ends = [_last(run.points('loss')) for run in runs]  # of unlike terms: no differences
    rows.append(('loss, last', *(_word(end if end is None else f'{end:.4f}') for end in ends)))
    sizes = [(run.record.get('weights') or {}).get('parameters') for run in runs]
    rows.append(('parameters', *(_word(size and f'{size:,}') for size in sizes)))
    rows.append(('GFLOPs', *(_word(run.row.get('gflops')) for run in runs)))
    rows.append(('images/s', *(_median(run.points('images_per_second')) for run in runs)))
    spent = [training_seconds(run.log) for run in runs]
    rows.append(('training time', *(_word(each and f'{each / 60:.1f} min') for each in spent)))
    for title, key in {'teacher': 'teacher', 'started from': 'initialised_from'}.items():
        rows.append((title, *(_word((origin.get(key) or {}).get('file')) for origin in origins)))
    return [row for row in dict.fromkeys(rows) if set(row[1:]) != {ABSENT}]


def _last(points: Points) -> float | None:
    return points[-1][1] if points else None


def _word(value: Any) -> str:
    return ABSENT if value is None else printable(str(value))


def _compared(values: Sequence[float | None]) -> Iterator[str]:
    """Values, the later ones with their difference to the first."""
    for i, value in enumerate(values):
        if value is None:
            yield ABSENT
        elif i == 0 or values[0] is None:
            yield f'{value:.2f}'
        else:
            yield f'{value:.2f} ({value - values[0]:+.2f})'


def _median(points: Points) -> str:
    return f'{statistics.median(value for _, value in points):.0f}' if points else ABSENT


# Output -------------------------------------------------------------------------------------------


def text_table(header: Sequence[str], rows: Rows) -> str:
    """Aligned columns; what is longer than 40 characters is cut in the middle."""
    return aligned([
        [cell if len(cell) <= 40 else f'{cell[:18]}...{cell[-18:]}' for cell in row]
        for row in (tuple(header), *rows)
    ])


def curves(runs: Sequence[Run]) -> str:
    """Training losses, and the headline metric of each task that there is, as ``<svg>``.

    Raises:
        UserError: if no run has a log.
    """
    found = [(task, [_measured(run, task, task.metrics[0]) for run in runs])
             for task in TASKS.values()]  # fmt: skip
    shown = [(task, lines) for task, lines in found if any(lines)]
    if not any(run.log for run in runs):
        raise UserError('no run has a log (TIME/vis_data/scalars.json): there is nothing to draw')

    def draw(figure: Figure) -> None:
        left, *others = figure.subplots(1, 1 + len(shown), squeeze=False)[0]
        for i, run in enumerate(runs):
            if points := run.points('loss'):
                left.plot(*zip(*points, strict=True), label=run.name, color=f'C{i}', linewidth=1.2)
        losses(left)
        left.legend()
        for axes, (task, lines) in zip(others, shown, strict=True):
            for i, points in enumerate(lines):
                if points:
                    marker = 'o' if len(points) < 3 else None
                    axes.plot(*zip(*points, strict=True), color=f'C{i}', marker=marker)
            axes.set(xlabel='iteration', ylabel=f'{task.headline} ({task.metrics[0].unit})')

    return svg('compared runs', draw, 4.4 * (1 + len(shown)))


def _measured(run: Run, task: Task, metric: Metric) -> Points:
    return run.points(metric.logged, metric.factor) if run.task is task else []


def report(runs: Sequence[Run]) -> str:
    """One HTML page with all of it."""
    header = ['', *(run.name for run in runs)]
    missing = [f'{run.name} has no {what}.' for run in runs for what in run.missing]
    apart = differences(runs)
    blocks = [Table(header, apart)] if apart else [Paragraph('Nothing differs.')]
    left_out = f'Not compared, as they change no result: {", ".join(sorted(IGNORED))}.'
    sections = [
        Section('figures', 'Figures', [Table(header, figures(runs))]),
        Section('configs', 'What differs in the configs', [*blocks, Paragraph(left_out, 'note')]),
    ]
    if any(run.log for run in runs):
        drawing = Drawing(curves(runs), 'Training loss and validation.', 'curves of the runs')
        sections.append(Section('curves', 'Curves', [drawing]))
    return page('runs compared', ' · '.join(str(run.folder) for run in runs), missing, sections)
