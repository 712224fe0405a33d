"""Write weights files that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

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
    content = {
        'state_dict': {name: alone(tensor) for name, tensor in state.items()},
        'meta': dict(meta),
    }
    with whole_or_not(path) as temporary:
        write_synced(temporary, lambda file: torch.save(content, file))


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in the same way: whole or not there."""
    with whole_or_not(path) as temporary:
        temporary.write_text(text)


@contextmanager
def whole_or_not(path: str | Path) -> Iterator[Path]:
    """A temporary file to write; it becomes ``path`` if nothing goes wrong, else it is gone."""
    path = Path(path)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_synced(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Write a file and wait until it is on the disk."""
    with open(path, 'wb') as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())


def alone(tensor: Tensor) -> Tensor:
    """On the CPU, and copied if it is a view: torch would save all that it is a view of."""
    tensor = tensor.detach().cpu()
    return tensor.clone() if tensor.untyped_storage().nbytes() > tensor.nbytes else tensor


def write_safetensors(
    path: str | Path, state: Mapping[str, Tensor], meta: Mapping[str, Any]
) -> None:
    """Write tensors and, as text, ``meta``, in the format that cannot hold code; whole or not.

    Raises:
        OSError: as :func:`write_weights`.
    """
    from safetensors.torch import save_file

    tensors = {name: alone(tensor).contiguous() for name, tensor in state.items()}
    texts = {key: str(value) for key, value in meta.items()}
    with whole_or_not(path) as temporary:
        save_file(tensors, temporary, metadata={'format': 'pt', **texts})
