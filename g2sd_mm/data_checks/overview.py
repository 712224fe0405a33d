"""What is there: classes and their balance, sizes, objects per image, and what to set for it."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..text import printable, some
from .class_folders import ClassFolders
from .coco import CocoSplit
from .depth import ImageDepths
from .image_masks import ImageMasks
from .images import Picture
from .masks import Mask
from .source import TRAINING, Source

_SHOWN = 12  # classes in a line
_BARS = ' ▁▂▃▄▅▆▇█'


@dataclass(frozen=True)
class Overview:
    """One split.

    split, place: its name, and the folder or file.
    images: how many.
    thing: what classes are counted by: ``images``, ``objects`` or ``masks``; empty without labels.
    classes: name -> how many things of it, in the order of their numbers.
    sizes: (width, height) in pixels -> images of it.
    per_image: number of objects, or of classes in a mask -> images with so many.
    sides: of the objects' boxes, in pixels: square root of the area.
    """

    split: str
    place: str
    images: int
    thing: str = ''
    classes: Mapping[str, int] = field(default_factory=dict)
    sizes: Mapping[tuple[int, int], int] = field(default_factory=dict)
    per_image: Mapping[int, int] = field(default_factory=dict)
    sides: Sequence[float] = ()

    def lines(self) -> list[str]:
        """In words, a line each."""
        sizes = f', {self._sizes()}' if self.sizes else ''
        lines = [f'{self.split}: {self.images} images{sizes}']
        if self.classes:
            total = sum(self.classes.values())
            ordered = sorted(self.classes.items(), key=lambda item: -item[1])
            parts = [f'{name} {n} ({n / max(total, 1):.0%})' for name, n in ordered]
            lines.append(
                f'  {len(self.classes)} classes of {total} {self.thing} '
                f'{histogram(list(self.classes.values()))}: {some(parts, _SHOWN)}'
            )
        if self.per_image:
            many = sorted(Counter(self.per_image).elements())
            what = 'objects' if self.thing == 'objects' else 'classes'
            lines.append(
                f'  {what} per image: {many[0]} to {many[-1]}, median '
                f'{statistics.median(many):g} '
                f'{histogram([self.per_image.get(i, 0) for i in range(min(many[-1], 39) + 1)])}'
            )
        if self.sides:
            low, middle, high = _three(self.sides)
            lines.append(f'  sides of objects: {low:.0f} to {high:.0f} px, median {middle:.0f}')
        return [printable(line) for line in lines]

    def _sizes(self) -> str:
        if len(self.sizes) == 1:
            ((width, height),) = self.sizes
            return f'all {width}x{height} px'
        widths = _three([w for (w, _), n in self.sizes.items() for _ in range(n)])
        heights = _three([h for (_, h), n in self.sizes.items() for _ in range(n)])
        return (
            f'{widths[0]:.0f} to {widths[2]:.0f} px wide, {heights[0]:.0f} to {heights[2]:.0f} '
            f'high, median {widths[1]:.0f}x{heights[1]:.0f}, {len(self.sizes)} sizes'
        )

    def plain(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            'split': self.split,
            'place': self.place,
            'images': self.images,
            'thing': self.thing,
            'classes': dict(self.classes),
            'sizes': [[*size, number] for size, number in sorted(self.sizes.items())],
            'per_image': {str(n): self.per_image[n] for n in sorted(self.per_image)},
            'side': [round(value, 1) for value in _three(self.sides)] if self.sides else [],
        }


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    return min(values), statistics.median(values), max(values)


def histogram(counts: Sequence[int]) -> str:
    """A bar a number, as tall as its share of the largest."""
    most = max(counts, default=0)
    if most == 0 or len(counts) > 60:
        return ''
    top = len(_BARS) - 1
    return ''.join(_BARS[-(-count * top // most)] for count in counts)


def overview_of(
    source: Source, pictures: Mapping[str, Picture], masks: Mapping[str, Mask]
) -> Overview:
    """What a split holds, from its images and masks, which have been decoded already."""
    paths = source.images()
    sizes = Counter(pictures[path].size for path in paths if pictures[path].size)
    common: dict[str, Any] = {
        'split': source.split, 'place': source.place, 'images': len(paths), 'sizes': sizes
    }
    if isinstance(source, CocoSplit):
        return Overview(**common, **_objects(source))
    if isinstance(source, ImageMasks) and not isinstance(source, ImageDepths):
        shown = [source.labels.classes_in(masks[mask].labels) for mask, _ in source.masks()]
        counts = Counter(number for numbers in shown for number in numbers)
        named = dict(enumerate(source.names or ()))
        last = max([*counts, len(named) - 1], default=-1)
        classes = {named.get(i, f'class {i}'): counts[i] for i in range(last + 1)}
        per_image = Counter(map(len, shown))
        return Overview(**common, thing='masks', classes=classes, per_image=per_image)
    if isinstance(source, ClassFolders) and source.labelled:
        counts_of = Counter(str(source.label(path)) for path in paths)
        names = source.classes if set(counts_of) <= set(source.classes) else sorted(counts_of)
        classes = {name: counts_of[name] for name in names}
        return Overview(**common, thing='images', classes=classes)
    return Overview(**common)


def _objects(source: CocoSplit) -> dict[str, Any]:
    names = dict.fromkeys(source.names().values(), 0)
    per_image: Counter[str] = Counter(dict.fromkeys(source.images(), 0))
    sides = []
    for path, objects in source.objects().items():
        for name, box in objects:
            names[name] = names.get(name, 0) + 1
            per_image[path] += 1
            sides.append(max(box[2] * box[3], 0.0) ** 0.5)
    return {
        'thing': 'objects', 'classes': names, 'per_image': Counter(per_image.values()),
        'sides': sides,
    }  # fmt: skip


def suggestions(overviews: Sequence[Overview]) -> list[str]:
    """Options for such data, a line each."""
    train = next((o for o in overviews if o.split.startswith(TRAINING)), None)
    if train is None and len(overviews) == 1:
        train = overviews[0]
    if train is None or not train.classes:
        return []
    lines = []
    if not any(o.split.startswith('val') for o in overviews):
        lines.append('no validation images: --val-share 0.2 holds out a fifth of the training ones')
    names = list(train.classes)
    if train.thing == 'images':
        lines.append(f'--cfg-options num_classes={len(names)}')
    elif len(names) <= _SHOWN:
        lines.append(f'--cfg-options "classes={tuple(names)!r}"')
    return [printable(line) for line in lines]


def spread(groups: Sequence[Iterable[Hashable]], number: int) -> list[int]:
    """Places of items that show as many groups as possible, spread over all of the list.

    Args:
        groups: of each item, such as its classes; an item without any is a group of its own kind.
        number: of items to take.
    """
    members: dict[Hashable, list[int]] = {}
    for place, kinds in enumerate(groups):
        for kind in list(kinds) or [None]:
            members.setdefault(kind, []).append(place)
    order = [_evenly(places) for _, places in sorted(members.items(), key=lambda m: len(m[1]))]
    taken: dict[int, None] = {}
    for turn in range(max(map(len, order), default=0)):
        for places in order:
            if turn < len(places) and len(taken) < number:
                taken.setdefault(places[turn])
    return sorted(taken)


def _evenly(places: list[int]) -> list[int]:
    """Middle first, then the middles of the halves, and so on."""
    queue, order = [(0, len(places))], []
    while queue:
        low, high = queue.pop(0)
        if low < high:
            middle = (low + high) // 2
            order.append(places[middle])
            queue += [(low, middle), (middle + 1, high)]
    return order
