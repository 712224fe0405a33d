"""Write weights files that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def write_weights(path: str | Path, state: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write ``{'state_dict', 'meta'}`` to ``path`` atomically: temporary file, fsync, rename.

    Args:
        path: target; its folder must exist.
        state: tensors, copied to the CPU.
        meta: plain values (str, int, float, bool, None, lists and dicts of them).

    Raises:
        OSError: if the disk is full or the folder cannot be written; no partial file stays.
    """
    path = Path(path)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    content = {
        'state_dict': {name: _alone(tensor) for name, tensor in state.items()},
        'meta': dict(meta),
    }
    try:
        with open(temporary, 'wb') as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _alone(tensor: Tensor) -> Tensor:
    """On the CPU, and copied if it is a view: torch would save all that it is a view of."""
    tensor = tensor.detach().cpu()
    return tensor.clone() if tensor.untyped_storage().nbytes() > tensor.nbytes else tensor


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in the same way: whole or not there."""
    path = Path(path)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        temporary.write_text(text)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
