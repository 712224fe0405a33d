"""Write weights files that are whole or not there."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
    content = {
        'state_dict': {name: compact_copy(tensor) for name, tensor in state.items()},
        'meta': dict(meta),
    }
    with whole_or_not(path) as temporary, temporary.open('wb') as file:
        torch.save(content, file)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in the same way: whole or not there."""
    with whole_or_not(path) as temporary:
        temporary.write_text(text)


@contextmanager
def whole_or_not(path: str | Path) -> Iterator[Path]:
    """A temporary file to write; it becomes ``path`` if nothing goes wrong, else it is gone.

    It is on the disk before it takes the name, and the name is before this returns: a machine that
    goes down at any moment leaves the old file or the new one. Only a killed process leaves the
    temporary file behind, see :func:`remove_leftovers`.
    """
    path = Path(path)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: str | Path) -> list[Path]:
    """Remove what killed processes left of files in a folder that nobody else writes to now."""
    leftovers = list(Path(folder).glob('.*.[0-9]*.tmp'))
    for file in leftovers:
        file.unlink(missing_ok=True)
    return leftovers


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        # some network file systems have nothing to wait for in a folder
        if error.errno != errno.EINVAL or not path.is_dir():
            raise
    finally:
        os.close(number)


def compact_copy(tensor: Tensor) -> Tensor:
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

    tensors = {name: compact_copy(tensor).contiguous() for name, tensor in state.items()}
    texts = {key: str(value) for key, value in meta.items()}
    with whole_or_not(path) as temporary:
        save_file(tensors, temporary, metadata={'format': 'pt', **texts})
