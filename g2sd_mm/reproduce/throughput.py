"""GPU hours from measured training throughput; nothing is assumed where nothing was measured."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UserError
from ..project import project_folder
from .work import Work, raw_config, workload

NOT_MEASURED = 'not measured: run tools/benchmark.py on your GPU'


@dataclass(frozen=True)
class Throughput:
    """Images a second of one GPU by :func:`~g2sd_mm.reproduce.work.workload`.

    source: the file and the GPU, for the reader.
    """

    rates: dict[str, float] = field(default_factory=dict)
    source: str = NOT_MEASURED

    def gpu_hours(self, key: str, work: Work) -> float | None:
        """GPU hours of a run, or None if its training step was not measured."""
        rate = self.rates.get(key)
        return work.seen / rate / 3600 if rate else None


def read_throughput(path: str | None = None) -> Throughput:
    """Figures of ``tools/benchmark.py --out FILE``, measured on a GPU.

    Args:
        path: the file; None looks for one below ``docs/results``.

    Raises:
        UserError: if the file is not one of these, or was measured without a GPU.
    """
    if path is None:
        files = sorted((project_folder() / 'docs' / 'results').glob('**/*.json'))
        read = ((file, _content(file)) for file in files)
        found = next(((f, c) for f, c in read if c is not None and _gpu(c)), None)
        return _throughput(*found) if found else Throughput()
    content = _content(Path(path))
    if content is None:
        raise UserError(f'{path} is no file of tools/benchmark.py --out')
    if not _gpu(content):
        raise UserError(f'{path} was measured without a GPU: GPU hours cannot be told from it')
    return _throughput(Path(path), content)


def _content(path: Path) -> dict | None:
    try:
        content = json.loads(path.read_text())
        [(figure['workload'], figure['images_per_second']) for figure in content['figures']]
        return content if content.get('size', 'full') == 'full' else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _gpu(content: dict) -> str | None:
    return (content.get('environment') or {}).get('gpu')


def _throughput(path: Path, content: dict) -> Throughput:
    rates: dict[str, float] = {}
    for figure in content['figures']:
        config = figure.get('config')
        if figure.get('part', 'step') != 'step':
            continue  # a part of a step, or one that waits for data
        if config and (project_folder() / config).is_file():
            key = workload(raw_config(config))
            rates[key] = max(figure['images_per_second'], rates.get(key, 0.0))
    return Throughput(rates, f'{path} ({_gpu(content)})')
