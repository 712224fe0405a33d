"""Write weights files, whole or not there."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..compat.safe_load import CheckpointError
from ..whole_files import whole_or_not, write_text
from .convert import Conversion
from .layouts import LAYOUTS

_ENDINGS = ('.pth', '.pt', '.bin', '.safetensors', '.pkl')


def write_weights(
    path: str | Path,
    state: Mapping[str, Tensor],
    meta: Mapping[str, Any],
    wrapper: str | None = 'state_dict',
) -> None:
    """Write tensors and ``meta`` atomically: temporary file, fsync, rename.

    Args:
        path: target; its folder must exist. ``.safetensors`` has ``meta`` as texts, ``.pkl``
            (detectron2's arrays of numpy) has none, all else is a file of torch.
        state: tensors, copied to the CPU.
        meta: plain values (str, int, float, bool, None, lists and dicts of them).
        wrapper: key of the tensors in a file of torch; None for one without ``meta``.

    Raises:
        OSError: if the disk is full or the folder cannot be written; no partial file stays.
    """
    path = Path(path)
    state = {name: compact_copy(tensor) for name, tensor in state.items()}
    with whole_or_not(path) as temporary:
        if path.suffix == '.safetensors':
            from safetensors.torch import save_file

            texts = {'format': 'pt', **{key: str(value) for key, value in meta.items()}}
            save_file({n: t.contiguous() for n, t in state.items()}, temporary, metadata=texts)
            return
        with temporary.open('wb') as file:
            if path.suffix == '.pkl':
                arrays = {name: tensor.numpy() for name, tensor in state.items()}
                pickle.dump({'model': arrays, '__author__': 'g2sd_mm'}, file, protocol=4)
                return
            try:
                torch.save({wrapper: state, 'meta': dict(meta)} if wrapper else state, file)
            except RuntimeError as error:  # torch's writer, which speaks of positions in the file
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise


def compact_copy(tensor: Tensor) -> Tensor:
    """On the CPU, and copied if it is a view: torch would save all that it is a view of."""
    tensor = tensor.detach().cpu()
    return tensor.clone() if tensor.untyped_storage().nbytes() > tensor.nbytes else tensor


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
        if path.suffix in _ENDINGS:
            raise CheckpointError(f'{path}: Hugging Face wants a folder, so DST takes no ending')
        path.mkdir(parents=True, exist_ok=True)
        write_text(path / 'config.json', json.dumps(config, indent=2) + '\n')
        path = path / 'model.safetensors'
    if path.suffix not in _ENDINGS or (path.suffix == '.pkl' and done.layout != 'detectron2'):
        raise CheckpointError(
            f'{path}: cannot write {done.layout} weights to {path.suffix or "a folder"}; give '
            '.pth or .safetensors, .pkl for detectron2, or a folder for huggingface'
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_weights(path, done.state, meta, LAYOUTS[done.layout].wrapper_of(done.family))
