"""What a suite leaves for its reports: ``results.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import UserError
from . import methods


def read_results(path: Path) -> dict[str, Any]:
    """A ``results.json``; the methods that it describes are known from then on.

    Raises:
        UserError: if it is not there or not one.
    """
    try:
        results = json.loads(path.read_text())
        results['rows'], results['suite']
        for name, described in results.get('methods', {}).items():
            methods.add(name, described)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path} is not a results.json: {error}') from error
    return results
