"""The JSON beside a student's weights: ``weights.pth`` has ``weights.json``.

::

    {"format": 1,
     "weights": {"file": "weights.pth", "sha256": "...", "parameters": 22050664},
     "network": {"task": "classification", "scope": "mmpretrain", "model": {...}, ...},
     "inputs": {"size": [224, 224], "mean": [...], "std": [...], "channels": "RGB"},
     "origin": {"config": "...", "dataset": {...}, "teacher": {...}, "metrics": {...}, ...}}

The three last are a record, see :mod:`g2sd_mm.checkpoints.record`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..provenance import file_digest
from .record import Record, check_record
from .write import write_text

FORMAT = 1


def sidecar_path(weights: str | Path) -> Path:
    """``weights.json`` for ``weights.pth``."""
    return Path(weights).with_suffix('.json')


def write_sidecar(weights: str | Path, record: Mapping[str, Any], parameters: int) -> Path:
    """Write the JSON beside a weights file that is already there.

    Args:
        weights: the file; its digest is taken.
        record: ``network``, ``inputs`` and ``origin``.
        parameters: numbers in the weights file.

    Raises:
        OSError: if it cannot be written.
    """
    file = {
        'file': Path(weights).name,
        'sha256': file_digest(weights),
        'parameters': parameters,
    }
    path = sidecar_path(weights)
    write_text(path, json.dumps({'format': FORMAT, 'weights': file, **record}, indent=2))
    return path


def read_sidecar(weights: str | Path) -> Record | None:
    """The JSON beside a weights file; None if there is none.

    Raises:
        UserError: if the file is no sidecar, one of a later version, or describes other weights
            than those (by its ``sha256``).
    """
    path = sidecar_path(weights)
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f'{path} does not describe a student ({error}); put back the file as it '
            'was written, or give the config'
        ) from error
    version = record.get('format', FORMAT) if isinstance(record, dict) else FORMAT
    if version != FORMAT:
        raise UserError(f'{path} has format {version}, this version of g2sd_mm reads {FORMAT}')
    record = check_record(record, str(path))
    known = record.get('weights')
    expected = known.get('sha256') if isinstance(known, dict) else None
    if expected is not None and Path(weights).is_file() and expected != file_digest(weights):
        raise UserError(
            f'{path} describes other weights than {weights} (sha256 {expected!s:.12} ...): one of '
            f'the two was replaced; move {path.name} away and give the config, or put the right '
            'file back'
        )
    return record
