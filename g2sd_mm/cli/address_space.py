"""A limit on the address space (``ulimit -v``) that is too low for torch, found before it hurts."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import subprocess
import sys
from collections.abc import Sequence
from types import ModuleType

from ..errors import UserError
from ..unexpected import address_space_limit

#: Bytes that are more than enough for every import of the stack; below, it is tried.
_ENOUGH = 16 * 2**30
_SECONDS = 120  # an import from a slow network disk


def check_address_space() -> None:
    """Have torch's import tried in another process, if a low limit is set and it comes to that.

    Below its need torch does not raise: it ends the process from C++, and nobody could say why.
    Whoever does not import it pays nothing.
    """
    limit = address_space_limit()
    if limit is not None and limit < _ENOUGH and 'torch' not in sys.modules:
        sys.meta_path.insert(0, _BeforeTorch(limit))


class _BeforeTorch(importlib.abc.MetaPathFinder):
    """Finds no module; asked for torch, it is time to try."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Always None.

        Raises:
            UserError: if torch cannot be imported under the limit.
        """
        if name == 'torch':
            sys.meta_path.remove(self)
            _try(self.limit)
        return None


def _try(limit: int) -> None:
    command = [sys.executable, '-c', 'import torch; torch.ones(2, 2) @ torch.ones(2, 2)']
    try:
        code = subprocess.run(command, capture_output=True, timeout=_SECONDS).returncode
    except (OSError, subprocess.TimeoutExpired, MemoryError):
        code = 1
    if code:
        raise UserError(
            f'torch cannot be imported with an address space of {limit / 2**30:.1f} GiB (ulimit -v '
            f'{limit // 1024}): set ulimit -v unlimited, and limit the memory by other means'
        )
