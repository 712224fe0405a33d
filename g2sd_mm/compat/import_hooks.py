"""Have a say when a module is imported, without importing it now.

Patching a library at the moment it loads keeps two promises at once: nobody pays for a library
they do not use, and nobody can get at it before the patch is in place.
"""

import contextlib
import copy
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Callback = Callable[[ModuleType], None]


class _Watcher(MetaPathFinder):
    """First in ``sys.meta_path``: lets the other finders find, then adds to what they do.

    Attributes:
        before: module -> what is called, once, before it is looked for.
        callbacks: module -> what is called once it is loaded, in this order.
        missing: module -> library that it does not find while it is loaded.
    """

    def __init__(self) -> None:
        self.before: dict[str, Callable[[], object]] = {}
        self.callbacks: dict[str, list[Callback]] = {}
        self.missing: dict[str, str] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if before := self.before.pop(fullname, None):
            before()
        callbacks, missing = self.callbacks.get(fullname, []), self.missing.get(fullname)
        if not callbacks and missing is None:
            return None
        spec = self._ask_the_others(fullname, path, target)
        if spec is not None and spec.loader is not None:
            _add_to_exec(spec, spec.loader, callbacks, missing)
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


def _add_to_exec(
    spec: ModuleSpec, loader: Loader, callbacks: Sequence[Callback], missing: str | None
) -> None:
    execute = loader.exec_module

    def execute_and_more(module: ModuleType) -> None:
        with _hidden(missing):
            execute(module)
        for callback in callbacks:
            callback(module)

    # A copy of the loader, since one loader may serve many modules; and no class of our own
    # around it, since tracebacks and `inspect` ask the loader for source text.
    own: Any = copy.copy(loader)
    own.exec_module = execute_and_more
    spec.loader = own


@contextlib.contextmanager
def _hidden(library: str | None) -> Iterator[None]:
    """``import library`` raises ModuleNotFoundError inside the block, unless it is loaded."""
    if library is None or library in sys.modules:
        yield
        return
    modules: dict[str, Any] = sys.modules
    modules[library] = None  # Python's own way of saying that there is no such module
    try:
        yield
    finally:
        del sys.modules[library]


_watcher = _Watcher()


def after_import(name: str, callback: Callback) -> None:
    """Call ``callback(module)`` as soon as the module ``name`` is loaded.

    A module that is loaded already is handed over at once. Several callbacks of a module are called
    in the order of their registration; one that is registered again is not called again, since a
    change made twice may be no change at all.
    """
    callbacks = _watcher.callbacks.setdefault(name, [])
    if callback in callbacks:
        return
    callbacks.append(callback)
    if name in sys.modules:
        callback(sys.modules[name])
    _watch()


def before_import(name: str, callback: Callable[[], object]) -> None:
    """Call ``callback()`` when the module ``name`` is about to be imported for the first time."""
    if name not in sys.modules:
        _watcher.before[name] = callback
        _watch()


def import_without(name: str, library: str) -> None:
    """Let the module ``name``, while it is loaded, not find ``library``, as if not installed.

    A library that is loaded by then is found. Afterwards it can be imported as ever.
    """
    _watch()
    _watcher.missing[name] = library


def _watch() -> None:
    if _watcher not in sys.meta_path:
        sys.meta_path.insert(0, _watcher)


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
