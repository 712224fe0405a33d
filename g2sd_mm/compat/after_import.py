"""Run a callback once a module has been imported, without importing it now.

Patching a library at the moment it loads keeps two promises at once: nobody pays for a library
they do not use, and nobody can get at it before the patch is in place.
"""

import copy
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ['after_import']

Callback = Callable[[ModuleType], None]


class _Watcher(MetaPathFinder):
    """First in ``sys.meta_path``: lets the other finders find, then adds the callback."""

    def __init__(self) -> None:
        self.callbacks: dict[str, Callback] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        callback = self.callbacks.get(fullname)
        if callback is None:
            return None
        spec = self._ask_the_others(fullname, path, target)
        if spec is not None and spec.loader is not None:
            _call_after_exec(spec, spec.loader, callback)
        return spec

    def _ask_the_others(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, 'find_spec'):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                return spec
        return None


def _call_after_exec(spec: ModuleSpec, loader: Loader, callback: Callback) -> None:
    execute = loader.exec_module

    def execute_then_call(module: ModuleType) -> None:
        execute(module)
        callback(module)

    # A copy of the loader, since one loader may serve many modules; and no class of our own
    # around it, since tracebacks and `inspect` ask the loader for source text.
    own: Any = copy.copy(loader)
    own.exec_module = execute_then_call
    spec.loader = own


_watcher = _Watcher()


def after_import(name: str, callback: Callback) -> None:
    """Call ``callback(module)`` as soon as the module ``name`` is loaded.

    A module that is loaded already is handed over at once. There is one callback per name; a
    second registration replaces the first.
    """
    if name in sys.modules:
        callback(sys.modules[name])
    if _watcher not in sys.meta_path:
        sys.meta_path.insert(0, _watcher)
    _watcher.callbacks[name] = callback
