"""The same pixels twice: across splits, across classes, within a split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from .findings import Finding
from .images import Picture
from .source import Source

TRAINING = 'train'


def find_duplicates(
    sources: Sequence[Source], pictures: Mapping[str, Picture]
) -> Iterator[Finding]:
    """Compare the digests of all pictures.

    Two splits share pixels: ``leakage``, told of the one that is not training's. One split has them
    in several classes: ``conflicting-labels``. In one, or none: ``duplicate``.
    """
    same: dict[str, dict[str, dict[str, str | None]]] = defaultdict(lambda: defaultdict(dict))
    for source in sources:
        for path in source.images():
            if pictures[path].digest:
                same[pictures[path].digest][source.split][path] = source.label(path)
    for splits in same.values():
        # training first
        names = sorted(splits, key=lambda name: (not name.startswith(TRAINING), name))
        first = next(iter(splits[names[0]]))
        for path in chain.from_iterable(splits[name] for name in names[1:]):
            if path not in splits[names[0]]:
                yield Finding('leakage', path, f'is {first} ({names[0]})')
        for labels in splits.values():
            yield from _within(labels)


def _within(labels: Mapping[str, str | None]) -> Iterator[Finding]:
    first, *others = labels
    for path in others:
        kind = 'duplicate' if labels[path] == labels[first] else 'conflicting-labels'
        yield Finding(kind, path, f'is {first}')
