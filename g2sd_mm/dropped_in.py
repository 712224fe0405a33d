"""Folders whose modules register what they have: a file that is dropped in is found."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable


def import_modules(package: str, folders: Iterable[str]) -> None:
    """Import all modules of a package, whose ``__name__`` and ``__path__`` these are."""
    for module in pkgutil.iter_modules(folders):
        importlib.import_module(f'{package}.{module.name}')
