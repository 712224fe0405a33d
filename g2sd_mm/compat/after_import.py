"""Run a callback once a module has been imported, without importing it now.

Patching a library at the moment it loads keeps two promises at once: nobody pays for a library
they do not use, and nobody can get at it before the patch is in place.
"""

import copy
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ['after_import', 'replace_function']

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
            _call_after_exec(spec, callback)
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


def _call_after_exec(spec: ModuleSpec, callback: Callback) -> None:
    execute = spec.loader.exec_module

    def execute_then_call(module: ModuleType) -> None:
        execute(module)
        callback(module)

    # A copy of the loader, since one loader may serve many modules; and no class of our own
    # around it, since tracebacks and `inspect` ask the loader for source text.
    spec.loader = copy.copy(spec.loader)
    spec.loader.exec_module = execute_then_call


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


def replace_function(module: ModuleType, name: str, new: Callable[..., object]) -> None:
    """Put ``new`` in the place of a module's function, and of the copies of it that the packages
    around the module have made if they were imported before."""
    old = getattr(module, name)
    setattr(module, name, new)
    package = module.__name__.rpartition('.')[0]
    while package:
        holder = sys.modules.get(package)
        if getattr(holder, name, None) is old:
            setattr(holder, name, new)
        package = package.rpartition('.')[0]
