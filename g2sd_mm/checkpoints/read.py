"""Read a weights file into a flat dict of tensors, whatever it was wrapped in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ..compat.safe_load import CheckpointError, load_checkpoint

# Where the weights lie: mmengine and mmseg, then MAE, DeiT and detectron2, then DeepSpeed.
_WRAPPERS = ('state_dict', 'model', 'module')


@dataclass(frozen=True)
class Weights:
    """Tensors of one file under the names they have there, and what else it says of itself."""

    path: str
    state: dict[str, Tensor]
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """File name without folders, for messages."""
        return Path(self.path).name


def read_weights(path: str | Path) -> Weights:
    """Read ``.pth``, ``.pt`` or ``.safetensors`` without ever running code from the file.

    Raises:
        CheckpointError: if the file holds no tensors.
        OSError, ValueError: from :func:`g2sd_mm.compat.safe_load.load_checkpoint`.
    """
    content = load_checkpoint(path)
    meta = content.get('meta', {}) if isinstance(content, Mapping) else {}
    state = content
    for wrapper in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    tensors = (
        {key: value for key, value in state.items() if isinstance(value, Tensor)}
        if isinstance(state, Mapping)
        else {}
    )
    if not tensors:
        raise CheckpointError(
            f'{path} holds no weights: expected a dict of tensors, plain or under one of '
            f'{", ".join(_WRAPPERS)}'
        )
    return Weights(str(path), without_prefix(tensors, 'module.'), dict(meta or {}))


def without_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """``state`` with ``prefix`` taken off every name, if every name has it; else as it is."""
    if state and all(key.startswith(prefix) for key in state):
        return {key[len(prefix) :]: value for key, value in state.items()}
    return dict(state)


def below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Only the entries below ``prefix``, with it taken off."""
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
