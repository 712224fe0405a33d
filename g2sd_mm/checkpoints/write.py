"""Write weights files, whole or not there."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..compat.safe_load import CheckpointError
from ..whole_files import whole_or_not, write_text
from .convert import Conversion
from .layouts import LAYOUTS


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
        try:
            torch.save(content, file)
        except RuntimeError as error:  # torch's writer, which speaks of positions in the file
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


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
    with whole_or_not(path) as temporary:
        _save_safetensors(temporary, state, {'format': 'pt', **meta})


def _save_safetensors(path: Path, state: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    from safetensors.torch import save_file

    texts = {key: str(value) for key, value in meta.items()}
    save_file(_compact(state), path, metadata=texts)


def _compact(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: compact_copy(tensor).contiguous() for name, tensor in state.items()}


def write_layout(
    path: str | Path,
    done: Conversion,
    meta: Mapping[str, Any],
    config: Mapping[str, Any] | None = None,
) -> None:
    """Write a conversion, whole or not at all.

    Args:
        path: ``.pth``, ``.pt`` or ``.bin`` (as the layout's own files are wrapped),
            ``.safetensors``, ``.pkl`` (numpy, detectron2 only), or, for Hugging Face, a folder.
        done: what to write.
        meta: plain values to keep beside the tensors where the format has a place.
        config: ``config.json`` of a Hugging Face folder.

    Raises:
        CheckpointError: if the ending is none of these.
        OSError: if it cannot be written.
    """
    path = Path(path)
    if config is not None:
        if path.suffix in _WRITERS:
            raise CheckpointError(f'{path}: Hugging Face wants a folder, so DST takes no ending')
        path.mkdir(parents=True, exist_ok=True)
        write_text(path / 'config.json', json.dumps(config, indent=2) + '\n')
        path = path / 'model.safetensors'
        meta = {**meta, 'format': 'pt'}
    if path.suffix not in _WRITERS or (path.suffix == '.pkl' and done.layout != 'detectron2'):
        raise CheckpointError(
            f'{path}: cannot write {done.layout} weights to {path.suffix or "a folder"}; give '
            '.pth or .safetensors, .pkl for detectron2, or a folder for huggingface'
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_or_not(path) as temporary:
        _WRITERS[path.suffix](temporary, done, meta)


def _write_torch(path: Path, done: Conversion, meta: Mapping[str, Any]) -> None:
    state = _compact(done.state)
    wrapper = LAYOUTS[done.layout].wrapper_of(done.family)
    content = {wrapper: state, 'meta': dict(meta)} if wrapper else state
    with path.open('wb') as file:
        torch.save(content, file)


def _write_pickle(path: Path, done: Conversion, meta: Mapping[str, Any]) -> None:
    state = {name: tensor.detach().cpu().numpy() for name, tensor in done.state.items()}
    content = {'model': state, '__author__': 'g2sd_mm'}
    with path.open('wb') as file:
        pickle.dump(content, file, protocol=4)


_WRITERS: dict[str, Callable[[Path, Conversion, Mapping[str, Any]], None]] = {
    '.pth': _write_torch,
    '.pt': _write_torch,
    '.bin': _write_torch,
    '.safetensors': lambda path, done, meta: _save_safetensors(path, done.state, meta),
    '.pkl': _write_pickle,
}
