"""GPU hours from measured training throughput; nothing is assumed where nothing was measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...config.project import project_folder
from ...errors import UserError
from .budget import Work, raw_config, workload

NOT_MEASURED = 'not measured: run tools/benchmark.py --suite paper on your GPU'

#: What a run computes, and whether in mixed precision.
Kind = tuple[str, bool]


@dataclass(frozen=True)
class Throughput:
    """Images a second of one GPU by :func:`~g2sd_mm.bench.suites.budget.workload` and precision.

    source: the file and the GPU, for the reader.
    """

    rates: Mapping[Kind, float] = field(default_factory=dict)
    source: str = NOT_MEASURED

    def gpu_hours(self, key: str, mixed: bool, work: Work) -> float | None:
        """GPU hours of a run, or None if its training step was not measured in its precision."""
        rate = self.rates.get((key, mixed))
        return work.seen / rate / 3600 if rate else None


def read_throughput(path: str | None = None) -> Throughput:
    """Figures of ``tools/benchmark.py --out FILE``, measured on a GPU.

    Args:
        path: the file; None looks for the one that tells most, below ``docs/results``.

    Raises:
        UserError: if the file is not one of these, or was not measured on a GPU.
    """
    if path is None:
        files = sorted((project_folder() / 'docs' / 'results').glob('**/*.json'))
        read = ((file, _content(file)) for file in files)
        found = [_throughput(f, c) for f, c in read if c is not None and _gpu(c)]
        return max(found, key=lambda one: len(one.rates), default=Throughput())
    content = _content(Path(path))
    if content is None:
        raise UserError(f'{path} is no file of tools/benchmark.py --out')
    if not _gpu(content):
        raise UserError(f'{path} was measured without a GPU: GPU hours cannot be told from it')
    return _throughput(Path(path), content)


def _content(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
        [(figure['workload'], figure['images_per_second']) for figure in content['figures']]
        return content if content.get('size', 'full') == 'full' else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _gpu(content: dict[str, Any]) -> str | None:
    """The GPU that was measured; None for figures of a CPU, whatever else the machine has."""
    environment = content.get('environment') or {}
    return None if environment.get('device') == 'cpu' else environment.get('gpu')


def _throughput(path: Path, content: dict[str, Any]) -> Throughput:
    """What counts of a file: compiled blocks first, which is how training runs on a GPU."""
    compiled: dict[Kind, float] = {}
    plain: dict[Kind, float] = {}
    for figure, dtype, with_blocks in _steps(content['figures']):
        key = _key(figure)
        if key:
            rates = compiled if with_blocks else plain
            rates.setdefault((key, dtype != 'float32'), figure['images_per_second'])
    slower = plain.keys() - compiled.keys()
    note = f'; {len(slower)} of its figures without compiled blocks' if slower else ''
    return Throughput({**plain, **compiled}, f'{path} ({_gpu(content)}{note})')


def _steps(figures: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], str, bool]]:
    """Whole steps as they are trained: figure, precision, and whether blocks were compiled."""
    for figure in figures:
        dtype, *more = str(figure.get('variant') or figure.get('dtype') or '').split(', ')
        # others are parts, steps that wait for data, options that are off, or emulated arithmetic
        whole = figure.get('part', 'step') == 'step' and figure.get('counts', True)
        if whole and dtype and set(more) <= {'compiled'}:
            yield figure, dtype, 'compiled' in more


def _key(figure: dict[str, Any]) -> str | None:
    """The digest of what was measured; of a stage, that of its config as it is now."""
    if 'stage' not in figure:
        return figure['workload']
    config = str(figure.get('config', ''))
    known = (project_folder() / config).is_file()
    return workload(raw_config(config)) if known else None
