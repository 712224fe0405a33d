"""Two lists of class names: do they say the same, and if not, where do they differ first?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..text import some

Names = tuple[str, ...]

#: The option that says that labels of the same number mean the same, whatever they are called.
BY_POSITION = 'classes_by_position'
_SHOWN = 8
_WORDNET = re.compile(r'n\d{8}')
_CONTROL = re.compile(r'[\x00-\x1f\x7f-\x9f]')


def clean_names(value: Any) -> Names:
    """Class names that a file gives, without control characters; empty if it gives none."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        return ()
    return tuple(_CONTROL.sub('?', name) for name in value)


def comparable(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether both name classes in one language: WordNet numbers and words do not."""
    return bool(first and second) and _are_numbers(first) == _are_numbers(second)


def _are_numbers(names: Sequence[str]) -> bool:
    return all(_WORDNET.fullmatch(name) for name in names)


def difference(first: Sequence[str], second: Sequence[str], what: tuple[str, str]) -> str:
    """Both lists and the first class in which they differ, in words; nothing if they are equal.

    Args:
        first, second: names by number.
        what: what each is of, such as ``('the weights', 'data/val')``.
    """
    if tuple(first) == tuple(second):
        return ''
    length = max(len(first), len(second))
    padded = [[*names, *[None] * (length - len(names))] for names in (first, second)]
    at = next(i for i, (a, b) in enumerate(zip(*padded, strict=True)) if a != b)
    shown = [f'{w} has {_listed(names)}' for w, names in zip(what, (first, second), strict=True)]
    said = [repr(names[at]) if names[at] is not None else 'missing' for names in padded]
    return f'{shown[0]}; {shown[1]}; the first difference: class {at} is {said[0]} and {said[1]}'


def _listed(names: Sequence[str]) -> str:
    return f'{len(names)} classes ({some(names, _SHOWN)})' if names else 'no classes'
