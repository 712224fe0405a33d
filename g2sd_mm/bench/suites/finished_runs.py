"""Find what a suite left in its folder: rows, trained networks, their configs, the stage-1 run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ...checkpoints.integrity import damage, newest_whole, saved_in
from ...config.load import load_config
from ...errors import UserError
from ...students.load import known_record
from ..logs import run_of
from ..results import identity, read_results
from .suites import Row, Suite

#: In the folder of a run that ended: what it gave, and the digest of what it was told.
RESULT = 'result.json'


def run_result(run: Path) -> dict[str, Any]:
    """Content of a run's :data:`RESULT`; nothing where there is none, or not a whole one."""
    with suppress(OSError, ValueError):
        content = json.loads((run / RESULT).read_text())
        return content if isinstance(content, dict) else {}
    return {}


def earlier_lines(
    suite: Suite, folder: Path, data: str | None
) -> tuple[dict[str, Any], dict[tuple[int, Row], dict[str, Any]]]:
    """The ``results.json`` of an earlier call, and its lines by seed and row.

    Nothing of one that is damaged, or of another suite or other data (``data`` is their name).
    """
    try:
        results = read_results(folder / 'results.json')
    except UserError:
        return {}, {}
    if (results['suite'], results.get('data')) != (suite.name, data):
        return {}, {}
    rows = {row.identity: row for row in suite.rows}
    lines = ((rows.get(identity(line)), line) for line in results['rows'])
    return results, {(line['seed'], row): line for row, line in lines if row is not None}


def trained_networks(
    folder: Path,
    task: str = 'cls',
    seed: int = 0,
    students: Sequence[str] = (),
) -> dict[str, Path]:
    """Method -> its run's folder, of a task's main rows that finished here; the teacher first.

    Args:
        folder: with ``results.json`` and ``seed<N>/<run>/``.
        task: ``cls``, ``det`` or ``seg``.
        seed: whose runs.
        students: whose rows (``vits``, ``vitt``); none: those of the first that has any. Of
            several, names are those of method and student: ``g2sd vits``. Where none are asked
            for, a printed line says which others have rows.

    Raises:
        UserError: if the teacher's or all students' weights are not there, or a student that was
            asked for has none.
    """
    teacher, runs = None, {}
    for row in read_results(folder / 'results.json')['rows']:
        mine = (row['task'], row['seed'], row.get('table', 'main')) == (task, seed, 'main')
        if mine and 'error' not in row:
            name = Path(row['checkpoint']).parent.name
            run = folder / f'seed{seed}' / name
            if name in ('', '..') or not (run / 'weights.pth').is_file():
                continue
            if row['method'] == 'teacher':
                teacher = run
            else:
                # rows of files from before there was more than one student have no student
                runs[row['method'], row.get('student', '')] = run
    if not teacher or not runs:
        has = ', '.join([*['teacher'] * bool(teacher), *(method for method, _ in runs)])
        raise UserError(
            f'{folder}/seed{seed} has {has or "nothing"} for {task}: analyses compare a teacher '
            'with its students; weights.pth of both have to be there'
        )
    known = list(dict.fromkeys(student for _, student in runs))
    wanted = _wanted(folder, known, students)
    return {
        'teacher': teacher,
        **{
            f'{method} {student}' if len(wanted) > 1 else method: run
            for (method, student), run in runs.items()
            if student in wanted
        },
    }


def _wanted(folder: Path, known: Sequence[str], asked: Sequence[str]) -> set[str]:
    """The students to take of those that have rows."""
    missing = [student for student in asked if student not in known]
    if missing:
        raise UserError(
            f'--students {" ".join(missing)}: {folder} has trained {", ".join(known)}'
        )
    if not asked and known[1:]:
        print(
            f'students of {known[0]} are compared; left out: {", ".join(known[1:])} '
            f'(--students {" ".join(known)} takes all)'
        )
    return set(asked or known[:1])


def network_config(folder: Path, run: Path) -> str | None:
    """The config of a row whose weights do not say what network they are, as a published file's.

    Args:
        folder: of the suite.
        run: one of its :func:`trained_networks`.
    """
    if known_record(run / 'weights.pth') is not None:
        return None
    rows = read_results(folder / 'results.json')['rows']
    return next((row['config'] for row in rows if run_of(row) == run.name), None)


def shared_config(runs: Mapping[str, Path]) -> Config:
    """The config of the first run that wrote one: the runs of a task have the same test data.

    A teacher that was given, and not trained here, wrote none.

    Raises:
        UserError: if none did.
    """
    wrote = [run for run in runs.values() if (run / f'{run.name}.py').is_file()]
    return run_config([*wrote, *runs.values()][0])


def run_config(run: Path) -> Config:
    """The config that a run wrote down, options included.

    Raises:
        UserError: if it wrote none.
    """
    path = run / f'{run.name}.py'
    if not path.is_file():
        raise UserError(f'{run} has no {path.name}: it is no run of this project')
    return load_config(str(path))


def stage1_run(folder: Path, seed: int = 0) -> tuple[Path, Path] | None:
    """Folder of a seed's stage-1 run and its newest checkpoint, which has the decoder; None
    without one."""
    for run in sorted((folder / f'seed{seed}').glob('*_generic')):
        if not any(run.glob('[ei]*_[0-9]*.pth')):
            continue  # people make room
        whole = (path for path in saved_in(run) if not damage(path))  # where none is named
        if checkpoint := newest_whole(run)[0] or next(whole, None):
            return run, checkpoint
    return None


def stage1_config(run: Path) -> Config:
    """Config of a stage-1 run, its teacher's file found beside it if the folder was moved."""
    cfg = run_config(run)
    # as written, or as it was run
    teacher: Any = (cfg.get('distillation') or cfg.model).get('teacher') or {}
    if file := teacher.get('checkpoint'):  # some come from a hub, or a folder
        beside = run.parent / Path(file).parent.name / Path(file).name
        if not Path(file).is_file() and beside.is_file():
            teacher.checkpoint = str(beside)
    return cfg
