"""Figures as lines of a table, and as JSON."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from typing import Any

from .figures import Memory, Reading, Scaling, Speed, Startup
from .stages import MEASURED

HEADER = ('stage', 'part', 'variant', 'batch', 'own', 'reference', 'ratio', 'of peak')
_WIDTHS = (15, 10, 18, 5, 12, 12, 22, 14)
_MB = 1e6


def line(cells: tuple[str, ...]) -> str:
    """One line of the table, in columns as wide as every figure needs."""
    return '  '.join(c.ljust(w) for c, w in zip(cells, _WIDTHS, strict=True)).rstrip()


def cells(figure: Speed | Memory | Reading | Startup | Scaling) -> tuple[str, ...]:
    """A figure's cells, in the order of :data:`HEADER`."""
    if isinstance(figure, Memory):
        sizes = (f'{n / _MB:.0f} MB' for n in (figure.bytes, figure.reference_bytes))
        return (
            figure.stage, 'memory', figure.variant, str(figure.batch), *sizes,
            f'{figure.ratio:.2f}', '',
        )
    if isinstance(figure, Reading):
        where = f'{figure.workers} workers' if figure.workers else 'in process'
        return figure.stage, 'input', where, '', f'{figure.images_per_second:.1f}/s', '', '', ''
    if isinstance(figure, Startup):
        ours, bare = map(statistics.median, (figure.seconds, figure.bare_seconds))
        return (
            figure.stage, 'startup', 'own, bare import', '', f'{ours:.1f} s', f'{bare:.1f} s',
            f'{figure.added:+.1f} s', '',
        )
    if isinstance(figure, Scaling):
        return (
            figure.stage, 'scaling', 'two, one process', str(figure.batch),
            f'{figure.images_per_second_of_two:.2f}/s', f'{figure.images_per_second:.2f}/s',
            str(figure.ratio), '',
        )
    used = (figure.utilisation, figure.reference_utilisation)
    return (
        figure.stage, figure.part, figure.variant + ('' if figure.counts else ' (emulated)'),
        str(figure.batch), f'{figure.images_per_second:.2f}/s',
        f'{figure.reference_images_per_second:.2f}/s',
        str(figure.ratio),
        '' if None in used else ' / '.join(f'{share:.0%}' for share in used),
    )


def plain(measured: dict[str, Any]) -> dict[str, Any]:
    """The same for JSON: ``figures`` of speed with their config, ``memory`` with its ratio."""
    content = dict(measured)
    content['figures'] = [
        {
            'workload': figure.stage,
            'config': MEASURED[figure.stage].config,
            **asdict(figure),
        }
        for figure in content.pop('speed')
    ]
    content['memory'] = [{**asdict(figure), 'ratio': figure.ratio} for figure in content['memory']]
    content['reading'] = [asdict(figure) for figure in content['reading']]
    content['startup'] = [
        {**asdict(figure), 'added': figure.added} for figure in content['startup']
    ]
    content['scaling'] = [asdict(figure) for figure in content['scaling']]
    return content
