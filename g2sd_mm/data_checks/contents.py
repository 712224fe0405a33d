"""What there is to learn from the labels of a split, and what a network would learn from nothing.

The same rules for the data checker and for the check before a run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..text import some
from .findings import Finding

#: Reasons for which an object does not count.
CROWD = 'crowd regions (iscrowd 1)'
NO_MASK = 'without a mask'
NOT_LISTED = 'of categories that are not listed'
_SHOWN = 5  # classes that a line names


@dataclass(frozen=True)
class Contents:
    """What counts in the labels of one split.

    Attributes:
        place: file or folder, for messages.
        thing: what is counted: ``objects``, ``images`` or ``masks``.
        classes: names of all classes.
        counts: number of a class -> things of the class; of masks, those that show the class.
        total: things that are there, whether they count or not.
        left_out: reason -> things that do not count for it.
        looked_at: things that were opened, of ``total``; None if that is all of them.
        hint: what may explain that a class is alone, to be appended.
        open_ended: whether there may be classes that nobody has named: the number of classes is not
            known.
    """

    place: str
    thing: str
    classes: tuple[str, ...]
    counts: Mapping[int, int]
    total: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    looked_at: int | None = None
    hint: str = ''
    open_ended: bool = False

    @property
    def absent(self) -> tuple[str, ...]:
        """Names of the classes that never occur."""
        return tuple(name for i, name in enumerate(self.classes) if not self.counts.get(i))

    @property
    def present(self) -> int:
        """Number of classes that occur."""
        return len(self.classes) - len(self.absent)


def merged(contents: Sequence[Contents]) -> Contents:
    """Several data sets that are read as one; the names are those of the first."""
    first, *others = contents
    if not others:
        return first
    looks = [c.looked_at for c in contents if c.looked_at is not None]
    return Contents(
        place=', '.join(dict.fromkeys(c.place for c in contents)),
        thing=first.thing,
        classes=max((c.classes for c in contents), key=len),
        counts=sum((Counter(c.counts) for c in contents), Counter()),
        total=sum(c.total for c in contents),
        left_out=sum((Counter(c.left_out) for c in contents), Counter()),
        looked_at=sum(looks) if looks else None,
        hint=first.hint,
        open_ended=first.open_ended,
    )


def problems(contents: Contents, training: bool) -> Iterator[Finding]:
    """What is wrong with the labels as a whole; the harmful ones stop a run before its first step.

    Args:
        contents: of one split.
        training: whether it is trained on; else a metric is computed from it.
    """
    place, counting = contents.place, sum(contents.counts.values())
    if not counting:
        yield Finding(_kind_of_nothing(contents, training), place, _nothing(contents))
        return
    number = len(contents.classes)
    # one class of objects is found in a background, one of images or pixels in nothing
    alone = contents.present == 1 and contents.thing != 'objects'
    if alone and (number > 1 or contents.thing == 'images' or contents.open_ended):
        yield Finding('one-class', place, _only(contents))
    elif contents.absent:
        kind = 'class-without-labels' if training else 'class-not-evaluated'
        yield Finding(kind, place, _absent(contents))
    if training and contents.left_out.get(NO_MASK):
        yield Finding('ignored-object', place, _reasons(contents))
    elif training and counting < sum(_reasons_of_listed(contents).values()):
        yield Finding('mostly-ignored', place, _reasons(contents))
    elif contents.left_out.get(CROWD):
        yield Finding('crowd-regions', place, _reasons(contents))


def _kind_of_nothing(contents: Contents, training: bool) -> str:
    if not training:
        return 'nothing-to-evaluate'
    reasons = _reasons_of_listed(contents)
    most = max(reasons, key=lambda name: reasons[name], default='')
    return {CROWD: 'all-crowd', NO_MASK: 'no-masks'}.get(most, 'nothing-to-learn')


def _reasons_of_listed(contents: Contents) -> dict[str, int]:
    """Categories that a config does not list are left out on purpose."""
    return {name: n for name, n in contents.left_out.items() if n and name != NOT_LISTED}


def _nothing(contents: Contents) -> str:
    if not contents.total:
        return f'no {contents.thing}'
    return f'none of {contents.total} {contents.thing} counts: {_reasons(contents)}'


def _reasons(contents: Contents) -> str:
    """``12 without a mask, 1 crowd regions``."""
    return ', '.join(
        f'{number} of {contents.total} {reason}'
        for reason, number in sorted(contents.left_out.items(), key=lambda item: -item[1])
        if number
    )


def _only(contents: Contents) -> str:
    names = [name for i, name in enumerate(contents.classes) if contents.counts.get(i)]
    number = len(contents.classes)
    if contents.thing == 'images':
        return f'{names[0]!r} is the only class with images, of {number}'
    return (
        f'{names[0]!r} is the only {"" if number == 1 else f"one of {number} "}'
        f'{"class" if number == 1 else "classes"} in '
        f'{contents.total} {contents.thing}' + contents.hint
    )


def _absent(contents: Contents) -> str:
    names = some([repr(name) for name in contents.absent], _SHOWN)
    looked = contents.looked_at
    where = f' in the {looked} of {contents.total} {contents.thing} looked at' if looked else ''
    return f'{len(contents.absent)} of {len(contents.classes)} classes{where}: {names}'


def numbered(classes: Sequence[str] | None, number: int) -> tuple[str, ...]:
    """Names of ``number`` classes; those without one are called by their number."""
    names = tuple(classes or ())[:number]
    return names + tuple(f'class {i}' for i in range(len(names), number))
