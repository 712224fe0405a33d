"""What others published that is no row of a suite, beside the paper suite's results."""

from __future__ import annotations

from collections.abc import Iterator

from ...published import content
from .blocks import Block, Paragraph, Table

# metric -> heading; higher is better but for the last
_METRICS = {
    'top1': 'top1',
    'mIoU': 'mIoU',
    'imagenet_a': 'ImageNet-A',
    'imagenet_r': 'ImageNet-R',
    'imagenet_c': 'ImageNet-C, mCE (lower is better)',
}
_OTHERS = (
    "Other methods by their own sources, in percent. Their recipes differ from this suite's: "
    'neighbours of its rows, and no rows.'
)
_PROGRESS = 'Along the way, by which to tell early whether a run is healthy:'


def published_elsewhere() -> Iterator[Block]:
    """Tables of ``docs/results/published.yaml``: ``others``, a row a network, and ``progress``."""
    figures: dict[tuple[str, str, str], dict[str, float]] = {}
    for entry in content()['others']:
        network = entry['method'], entry['student'], entry['source']
        figures.setdefault(network, {})[entry['metric']] = entry['value']
    yield Paragraph(_OTHERS, 'note')
    yield Table(
        ('method', 'network', *_METRICS.values(), 'source'),
        [
            (method, student, *(_told(found.get(metric)) for metric in _METRICS), source)
            for (method, student, source), found in figures.items()
        ],
    )
    yield Paragraph(_PROGRESS, 'note')
    yield Table(
        ('config', 'figure', 'value', 'source'),
        [
            (entry['config'], entry['what'], _told(entry['value']), entry['source'])
            for entry in content()['progress']
        ],
    )


def _told(value: float | None) -> str:
    return '' if value is None else f'{value:g}'
