"""Figures of ``tools/benchmark.py --out`` as a table for the documentation."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from g2sd_mm.errors import UserError

from .pairing import Ratio

_HEADER = ('stage', 'part', 'batch', 'ours', 'reference', 'ratio (range)', 'of peak')
_MB = 1e6
_STARTUP = ('seconds', 'bare_seconds')

Row = tuple[str, ...]


def speed_table(files: list[Path]) -> str:
    """One Markdown table of all figures in some JSON files, in their order.

    ``of peak`` is the share of the measured peak of matrix products, ours and the reference's.

    Raises:
        UserError: for a file that is missing or not written by ``tools/benchmark.py``.
    """
    rows = [row for file in files for row in _rows(_read(file))]
    used = [any(row[column] for row in rows) for column in range(len(_HEADER))]
    lines = [_HEADER, ('---',) * len(_HEADER), *rows]
    return '\n'.join(
        '| ' + ' | '.join(cell for cell, use in zip(line, used, strict=True) if use) + ' |'
        for line in lines
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
        return {part: content[part] for part in ('figures', 'memory', 'startup', 'scaling')}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{file} is not a file of tools/benchmark.py --out ({error}): measure again'
        ) from error


def _rows(content: dict[str, Any]) -> Iterator[Row]:
    for figure in content['figures']:
        used = figure['utilisation'], figure['reference_utilisation']
        counts = '' if figure['counts'] else ' (emulated)'
        yield (
            f'`{figure["stage"]}`', f'{figure["part"]}, {figure["variant"]}{counts}',
            str(figure['batch']), _rate(figure['images_per_second']),
            _rate(figure['reference_images_per_second']), str(Ratio(**figure['ratio'])),
            '' if None in used else ' / '.join(f'{share:.0%}' for share in used),
        )
    for figure in content['memory']:
        sizes = (f'{figure[which] / _MB:.0f} MB' for which in ('bytes', 'reference_bytes'))
        yield (
            f'`{figure["stage"]}`', f'memory, {figure["variant"]}', str(figure['batch']), *sizes,
            f'{figure["ratio"]:.2f}', '',
        )
    for figure in content['startup']:
        seconds = (f'{statistics.median(figure[which]):.1f} s' for which in _STARTUP)
        yield (
            f'`{figure["stage"]}`', 'start to first batch, bare import', '', *seconds,
            f'{figure["added"]:+.1f} s', '',
        )
    for figure in content['scaling']:
        yield (
            f'`{figure["stage"]}`', 'two processes, one', str(figure['batch']),
            _rate(figure['images_per_second_of_two']), _rate(figure['images_per_second']),
            str(Ratio(**figure['ratio'])), '',
        )


def _rate(images: float) -> str:
    return f'{images:.3g} img/s' if images < 100 else f'{images:.0f} img/s'
