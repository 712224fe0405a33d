"""Names of one layout and of another, as a table that is read both ways.

A pattern is a name with holes: ``{i}`` is a number (``{i+1}`` the number after it), ``{p}`` is
``weight`` or ``bias``, ``{rest}`` is everything from here on.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch

import torch
from torch import Tensor

State = dict[str, Tensor]

_HOLE = re.compile(r'\{(?P<name>[a-z]+)(?:\+(?P<offset>\d+))?\}')
_FILLINGS = {'p': 'weight|bias', 'rest': '.+'}
_NUMBER = r'\d+'


@dataclass(frozen=True)
class Rule:
    """One line of a table.

    Args:
        published: pattern of the published name.
        theirs: pattern in the other layout. Several: the published tensor is cut along its first
            axis into as many equal parts, ``None`` standing for one that the layout does without
            and that is zero.
    """

    published: str
    theirs: str | tuple[str | None, ...]


@dataclass
class Translated:
    """A state dict under other names.

    Attributes:
        state: what the table knows.
        origin: its name -> the names that it was made from.
        unknown: names that no line of the table fits.
        lost: parts that the table leaves out (``None`` in a rule) and that are not zero.
        incomplete: wanted names of which only some parts are there.
    """

    state: State = field(default_factory=dict)
    origin: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)


def to_theirs(state: Mapping[str, Tensor], rules: Sequence[Rule]) -> Translated:
    """Published names -> the other layout's."""
    done = Translated()
    for name, tensor in state.items():
        for rule in rules:
            holes = match(rule.published, name)
            if holes is not None:
                break
        else:
            done.unknown.append(name)
            continue
        if isinstance(rule.theirs, str):
            _put(done, fill(rule.theirs, holes), tensor, name)
            continue
        for number, part in enumerate(tensor.chunk(len(rule.theirs))):
            place = rule.theirs[number]
            if place is not None:
                _put(done, fill(place, holes), part, name)
            elif part.is_meta or part.any():
                done.lost.append(f'{name} (part {number + 1} of {len(rule.theirs)})')
    return done


def to_published(state: Mapping[str, Tensor], rules: Sequence[Rule]) -> Translated:
    """The other layout's names -> published ones."""
    done = Translated()
    cut: dict[str, tuple[tuple[str | None, ...], dict[int, str]]] = {}
    for name, tensor in state.items():
        for rule in rules:
            places = (rule.theirs,) if isinstance(rule.theirs, str) else rule.theirs
            found = _first_match(places, name)
            if found is not None:
                break
        else:
            done.unknown.append(name)
            continue
        number, holes = found
        whole = fill(rule.published, holes)
        if len(places) == 1:
            _put(done, whole, tensor, name)
        else:
            cut.setdefault(whole, (places, {}))[1][number] = name
    for whole, (places, parts) in cut.items():
        if any(place is not None and i not in parts for i, place in enumerate(places)):
            done.incomplete.append(whole)
            continue
        like = state[next(iter(parts.values()))]
        pieces = [state[parts[i]] if i in parts else like.new_zeros(like.shape)
                  for i in range(len(places))]
        done.state[whole] = torch.cat(pieces)
        done.origin[whole] = tuple(parts.values())
    return done


def same(names: Iterable[str], prefix: str = '') -> tuple[Rule, ...]:
    """A table that only puts ``prefix`` before the published names."""
    return tuple(Rule(name, prefix + name) for name in names)


def fits(name: str, patterns: Iterable[str]) -> bool:
    """True if ``name`` fits one of the ``fnmatch`` patterns."""
    return any(fnmatch(name, pattern) for pattern in patterns)


def match(pattern: str, name: str) -> dict[str, str] | None:
    """What stands in the holes of ``pattern``, or None if ``name`` does not fit it."""
    found = _compiled(pattern).fullmatch(name)
    if found is None:
        return None
    holes = found.groupdict()
    for hole in _HOLE.finditer(pattern):
        if hole['offset']:
            value = int(holes[hole['name']]) - int(hole['offset'])
            if value < 0:
                return None
            holes[hole['name']] = str(value)
    return holes


def fill(pattern: str, holes: Mapping[str, str]) -> str:
    """The name that ``pattern`` stands for."""

    def filling(hole: re.Match) -> str:
        value = holes[hole['name']]
        return str(int(value) + int(hole['offset'])) if hole['offset'] else value

    return _HOLE.sub(filling, pattern)


@functools.lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern:
    parts, end = [], 0
    for hole in _HOLE.finditer(pattern):
        parts.append(re.escape(pattern[end : hole.start()]))
        parts.append(f'(?P<{hole["name"]}>{_FILLINGS.get(hole["name"], _NUMBER)})')
        end = hole.end()
    return re.compile(''.join(parts) + re.escape(pattern[end:]))


def _first_match(
    places: Sequence[str | None], name: str
) -> tuple[int, dict[str, str]] | None:
    for number, place in enumerate(places):
        holes = None if place is None else match(place, name)
        if holes is not None:
            return number, holes
    return None


def _put(done: Translated, place: str, tensor: Tensor, source: str) -> None:
    done.state[place] = tensor
    done.origin[place] = (source,)
