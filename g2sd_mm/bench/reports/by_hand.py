"""The report of suites, for runs that were started by hand: rows from what they left."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...checkpoints.record import read_sidecar
from ...config.flat import flat
from ...errors import UserError
from ...tasks import task_named
from .. import methods
from ..compare import IGNORED, config_of
from ..logs import SHAPES, read_scalars, training_seconds
from ..results import dataset_name, describe_environment
from .page import render

_DEPTH = 2  # folders below


def report_of_runs(folder: Path) -> str:
    """The page as text.

    A run's method is what its config is called after the network: ``vitb_cls`` is a teacher,
    ``g2sd_vits_cls_nosd`` the plain twin, ``vits_scratch_cls`` from scratch, anything else a method
    of its own name. Runs of one method are seeds of one row if nothing but the seed differs in
    their configs; else those with the shortest path have its name, and others their folder in it.

    Raises:
        UserError: if there is no finished run of a task.
    """
    rows = list(_rows(folder))
    if not rows:
        raise UserError(
            f'{folder} has no finished run of a task (weights.pth with weights.json): give the '
            'folder that holds the work dirs'
        )
    student = next((row['student'] for row in rows
                    if row['student'] and row['method'] != 'teacher'), '')  # fmt: skip
    for row in rows:  # a name that tells no network is of the one that the others are of
        row['student'] = row['student'] or student
    _tell_apart(rows, folder)
    for name in {row['method'] for row in rows} - set(methods.METHODS):
        methods.add(name, {})
    results = {
        'suite': folder.name, 'rows': rows, 'environment': describe_environment(),
        'command': f'python tools/watch.py {folder} --report',
    }  # fmt: skip
    names = {row['dataset'] for row in rows}
    return render({**results, 'data': names.pop() if len(names) == 1 else SHAPES}, folder)


def _tell_apart(rows: list[dict[str, Any]], folder: Path) -> None:
    """Give runs that are no seeds of one row names with their folders, in place."""
    names: dict[tuple[Any, ...], str] = {}
    for row in sorted(rows, key=lambda row: (len(row['folder'].parts), str(row['folder']))):
        run = row.pop('folder')
        method = row['task'], row['student'], row['method']
        told = (*method, _settings(run))
        own = f'{row["method"]} ({run.relative_to(folder)})'
        name = names.setdefault(told, own if method in names else row['method'])
        names.setdefault(method, name)
        seed = (*told, row['seed'])
        row['method'] = own if seed in names else name  # a repetition is no seed either
        names[seed] = name


def _settings(run: Path) -> frozenset[tuple[str, str]]:
    """What a run was told, but for its seed: of paths the ends, as each seed has its folder."""
    entries = flat(config_of(run), IGNORED | {'seed', 'resume'})
    ends = ((key, '/'.join(str(value).split('/')[-2:])) for key, value in entries)
    return frozenset(ends)


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    files = [
        file for depth in range(_DEPTH + 1) for file in folder.glob('*/' * depth + 'weights.json')
    ]
    known: set[tuple[Any, Any]] = set()  # a copy of weights is no run of its own
    for file in sorted(files, key=lambda file: (not any(file.parent.glob('*/*.log')), file)):
        weights = file.with_name('weights.pth')
        if not weights.is_file():
            continue
        record = read_sidecar(weights)
        if not record or not record.get('network'):
            continue
        same = record.get('weights', {}).get('sha256'), record['origin'].get('config')
        if same not in known:
            known.add(same)
            yield _row(weights, record)


def _row(weights: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    task, origin = task_named(record['network']['task']), record['origin']
    config = str(origin.get('config') or weights.parent.name)
    figures = task.agreed(origin.get('metrics') or {})
    row: dict[str, Any] = {
        'task': task.key, 'seed': int(origin.get('seed') or 0), 'config': config,
        'folder': weights.parent,
        **_method(Path(config).stem, task.head),
    }  # fmt: skip
    if task.headline not in figures:
        return {**row, 'error': f'its validation gave no {task.headline}'}
    data = (origin.get('dataset') or {}).get('data_root') or ''
    return {
        **row, 'metrics': figures, 'checkpoint': str(weights),
        'dataset': dataset_name(data),
        'params_m': round(record.get('weights', {}).get('parameters', 0) / 1e6, 4), 'gflops': None,
        'train_seconds': training_seconds(read_scalars(weights.parent)),
        'total_seconds': None,  # which other runs it needed is not to be told here
    }  # fmt: skip


def _method(name: str, head: str) -> dict[str, str]:
    plain = re.sub(rf'_(cls|{head})\b', '', name.replace(f'_{head}_', '_'))
    student = next((part for part in plain.split('_') if part.startswith('vit')), '')
    if plain == student and student.startswith(('vitb', 'vitl')):
        return {'method': 'teacher', 'student': student}
    rest = '_'.join(part for part in plain.split('_') if part != student)
    known = {'mae': 'mae_student'}.get(rest, rest)
    return {'method': known if known in methods.METHODS else name, 'student': student}
