"""One malformed input and the tools that are given it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """kind: what sort of input. name: what is wrong with it. run: writes the input into the folder
    that it is given, which is the working folder too, and calls the functions behind the tools."""

    kind: str
    name: str
    run: Callable[[Path], None]

    def __str__(self) -> str:
        return f'{self.kind}: {self.name}'
