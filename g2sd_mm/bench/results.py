"""What a suite leaves for its reports: ``results.json``, with what it was made with."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..compat.guards import installed
from ..errors import UserError
from ..provenance import git_commit
from ..tasks import TASKS
from ..text import printable
from . import methods

#: Packages whose versions can move a result.
_PACKAGES = (
    'g2sd_mm',
    'torch',
    'torchvision',
    'timm',
    'numpy',
    'onedl-mmengine',
    'onedl-mmcv',
    'onedl-mmpretrain',
    'onedl-mmdetection',
    'onedl-mmsegmentation',
)

#: What tells a row from others but its seed.
IDENTITY = ('task', 'student', 'method', 'table', 'setting')
_USUAL = {'student': '', 'table': 'main', 'setting': ''}
#: Tables whose rows are compared with the main ones, with what each of them uses: other systems,
#: and G2SD with less arithmetic.
BASELINES, CHEAPER = COMPARED = ('baselines', 'cheaper')
#: What entries of a results.json are, where they are there.
_KINDS: dict[str, type] = {
    'suite': str, 'rows': list, 'data': str, 'environment': dict, 'methods': dict,
    'fingerprints': dict, 'uses': list, 'made': list, 'missing': list, 'left_out': list,
}  # fmt: skip
_ENTRIES: dict[str, type] = {'missing': str, 'left_out': str, 'uses': dict, 'made': dict}
#: What every row has, what it may have besides, and what it has if it did not fail.
_ROW: dict[str, type] = {'task': str, 'method': str, 'seed': int, 'config': str}
_TEXTS = ('student', 'table', 'setting', 'metric', 'error', 'data', 'dataset', 'checkpoint')
_FIGURES = ('params_m', 'gflops', 'train_seconds', 'total_seconds')
#: Of what a row uses: arithmetic in 1e15, of its own runs and of those that trained its teachers.
ARITHMETIC = ('pflop', 'teachers_pflop')


def identity(row: Mapping[str, Any]) -> tuple[str, ...]:
    """:data:`IDENTITY` of a row; older files leave out what is usual."""
    return tuple({**_USUAL, **row}[name] for name in IDENTITY)


def judged_by(row: Mapping[str, Any]) -> str:
    """Name of the metric that a row is compared by."""
    return row.get('metric') or TASKS[row['task']].headline


def ways(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Command and environment of the rows; several if a table was made in parts."""
    return results.get('made') or [results]


def dataset_name(root: str) -> str:
    """What a training folder is called: the data set, not its part."""
    path = Path(root)
    return path.parent.name if path.name.startswith('train') else path.name


def read_results(path: Path) -> dict[str, Any]:
    """A ``results.json``; the methods that it describes are known from then on.

    Names in it have no control characters, whoever wrote them.

    Raises:
        UserError: if it is not there or not one.
    """
    try:
        results = _printable(json.loads(path.read_text()))
        _check(results)
        for name, described in results.get('methods', {}).items():
            methods.add(name, described)
    except FileNotFoundError as error:
        below = sorted(path.parent.glob(f'*/{path.name}'))
        cure = f', such as {below[0].parent}' if below else ' of which a run has ended'
        raise UserError(f'no {path}: give the folder of a suite{cure}') from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f'{path} is not a results.json: {error}') from error
    return results


def _check(results: dict[str, Any]) -> None:
    for key, kind in _KINDS.items():
        _has(results, key, kind, needed=key in ('suite', 'rows'))
    for key, kind in _ENTRIES.items():
        if not all(isinstance(each, kind) for each in results.get(key, ())):
            raise ValueError(f'{key} has entries of another kind than {kind.__name__}')
    for use in results.get('uses', ()):
        for key in IDENTITY:
            _has(use, key, str, 'what a row uses')
    seen = set()
    for row in results['rows']:
        check_row(row)
        name = ' '.join(str(row[key]) for key in (*IDENTITY, 'seed') if row.get(key, '') != '')
        if name in seen:
            raise ValueError(f'it has two rows {name}, one of which has to go')
        seen.add(name)


def check_row(row: dict[str, Any]) -> None:
    """Whether a row has all that tables and reports read.

    Raises:
        TypeError, ValueError: with what is not as it should be.
    """
    for key, kind in _ROW.items():
        _has(row, key, kind, 'a row')
    if row['task'] not in TASKS:
        raise ValueError(f'a row has the task {row["task"]!r}: there are {", ".join(TASKS)}')
    name = f'{row["task"]} {row["method"]} seed {row["seed"]}'
    for key in _TEXTS:
        # what is not known of a run is null
        _has({**row, key: row.get(key, '')}, key, str, name, none=key in _TEXTS[-3:])
    if 'error' not in row:
        for key in _FIGURES:
            _has(row, key, (int, float), name, none=not key.endswith('seconds'))
        _has(row, 'metrics', dict, name)
        judged = judged_by(row)
        if judged not in row['metrics']:
            raise ValueError(f'{name} has no {judged} in its metrics')


def _has(
    values: dict[str, Any], key: str, kind: type | tuple[type, ...], name: str = 'it',
    needed: bool = True, none: bool = False,
) -> None:
    """Stop for an entry that is missing, or of another kind."""
    if key not in values:
        if needed:
            raise ValueError(f'{name} has no {key}')
    elif not isinstance(values[key], kind) and not (none and values[key] is None):
        raise ValueError(f'{name} has the {key} {values[key]!r}')


def _printable(value: Any) -> Any:
    if isinstance(value, dict):
        return {printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return printable(value) if isinstance(value, str) else value


def describe_environment() -> dict[str, Any]:
    """Machine, packages and commit, in plain values for JSON."""
    import torch

    cuda = torch.cuda.is_available()
    return {
        'python': platform.python_version(),
        'system': platform.system(),
        'cpu': _cpu_model(),
        'cores': os.cpu_count(),
        'gpu': torch.cuda.get_device_name() if cuda else None,
        'commit': git_commit(),
        'packages': {name: installed(name) for name in _PACKAGES},
    }


def _cpu_model() -> str:
    try:
        with open('/proc/cpuinfo') as file:
            for line in file:
                if line.startswith('model name'):
                    return line.split(':', 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
