"""What figures that need processes of their own have in common."""

from __future__ import annotations

import os

from .stages import ROOT


def environment(**variables: str) -> dict[str, str]:
    """The environment in which a process finds this checkout, wherever it is started."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    return {**os.environ, 'PYTHONPATH': path, **variables}


def require_success(code: int, errors: str, what: str) -> None:
    """Nothing, if a process ended well.

    Raises:
        RuntimeError: if not, with the end of what it said.
    """
    if code:
        raise RuntimeError(f'{what} failed: {" ".join(errors.split())[-500:]}')
