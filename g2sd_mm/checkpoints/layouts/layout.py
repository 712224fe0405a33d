"""What there is to say of a layout: its tables, what it cannot hold, and how its files look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .published import Family
from .rules import Rule, State


def _unchanged(state: State) -> State:
    return state


@dataclass(frozen=True)
class Layout:
    """One library's way to name and arrange the weights of a network.

    Args:
        name: as ``--to`` takes it.
        title: the library, for messages and the documentation.
        tables: what it can hold, and under which names.
        cannot_hold: patterns (``fnmatch``) of published names that it has no place for and that it
            may be written without; each is reported.
        not_weights: patterns of its own names that carry nothing a network here could use; left
            out when it is read, and reported.
        wrapper: key under which its ``.pth`` files keep the tensors; None for bare files.
        wrappers: the same for families whose files differ.
        tidy: its variants' names -> those of the tables.
        arrange, undo: change published tensors into its arrangement, and back.
    """

    name: str
    title: str
    tables: Mapping[Family, tuple[Rule, ...]]
    cannot_hold: tuple[str, ...] = ()
    not_weights: tuple[str, ...] = ()
    wrapper: str | None = None
    wrappers: Mapping[Family, str] = field(default_factory=dict)
    tidy: Callable[[State], State] = _unchanged
    arrange: Callable[[State], State] = _unchanged
    undo: Callable[[State], State] = _unchanged

    def wrapper_of(self, family: Family) -> str | None:
        """Key under which the layout's ``.pth`` files of a family keep the tensors."""
        return self.wrappers.get(family, self.wrapper)
