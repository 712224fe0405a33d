"""What a suite leaves for its reports: ``results.json``, with what it was made with."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

from ..compat.guards import installed
from ..errors import UserError
from ..provenance import git_commit
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
#: Tables whose rows are compared with the main ones, with what each of them uses: other systems,
#: and G2SD with less arithmetic.
BASELINES, CHEAPER = COMPARED = ('baselines', 'cheaper')
#: Of what a row uses: arithmetic in 1e15, of its own runs and of those that trained its teachers.
ARITHMETIC = ('pflop', 'teachers_pflop')


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
        results['rows'], results['suite']
        for name, described in results.get('methods', {}).items():
            methods.add(name, described)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f'{path} is not a results.json: {error}') from error
    return results


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
