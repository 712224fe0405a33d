"""What a suite leaves for its reports: ``results.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..text import printable
from . import methods


def read_results(path: Path) -> dict[str, Any]:
    """A ``results.json``; the methods that it describes are known from then on.

    Names in it have no control characters, whoever wrote them.

    Raises:
        UserError: if it is not there or not one.
    """
    try:
        results = _printable(json.loads(path.read_text()))
        results['rows'], results['suite']
        for name, described in results.get('methods', {}).items():
            methods.add(name, described)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f'{path} is not a results.json: {error}') from error
    return results


def _printable(value: Any) -> Any:
    if isinstance(value, dict):
        return {printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return printable(value) if isinstance(value, str) else value
