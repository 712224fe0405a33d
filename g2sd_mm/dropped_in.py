"""Folders whose modules register what they have: a file that is dropped in is found."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from types import ModuleType


def import_modules(package: str, folders: Iterable[str]) -> list[ModuleType]:
    """Import all modules of a package, whose ``__name__`` and ``__path__`` these are."""
    found = pkgutil.iter_modules(folders)
    return [importlib.import_module(f'{package}.{module.name}') for module in found]
