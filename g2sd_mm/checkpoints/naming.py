"""The one door through which a task model gets its tensors: renamed only where that is needed.

Weights of this project, and weights whose names are those of the model, stay as they are: a stock
network may have names that also occur in a published layout, and a stock network's file is loaded
by the library that made it. Only what is left is read as a published file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..compat.safe_load import CheckpointError
from ..errors import UserError
from .identify import Kind, identify
from .layouts.rules import State
from .read import Weights, below
from .sidecar import read_sidecar
from .task_models import task_model_state

_DISTILLED = (Kind.STAGE2_RUN, Kind.SEG_DISTILLER)


def state_for(weights: Weights, names: Iterable[str]) -> State:
    """The tensors of a file under the names that a task model has.

    Args:
        weights: a file of this project, of the model's own library, or a published one.
        names: of the model's state dict; none if it is not known. Parts of the file that the model
            does not have at all (heads that a teacher does not run) do not count.

    Returns:
        tensors as they are in the file (of a distilled run, the student), or renamed. What is
        missing or unknown is for :func:`~g2sd_mm.checkpoints.load.load_verified` to report.

    Raises:
        CheckpointError: if a published file has names that its layout does not have.
    """
    own = set(names)
    if own and not _off(weights.state, own):
        return dict(weights.state)
    state = weights.state
    if identify(state) in _DISTILLED:
        state = below(state, 'student.')
    off = _off(state, own)
    if (own and not off) or own_record(weights) is not None:
        return dict(state)
    try:
        renamed = task_model_state(weights)
    except CheckpointError:
        if off > len(own) // 2:  # not even similar
            raise
        return dict(state)
    return dict(state) if off < _off(renamed, own) else renamed


def own_record(weights: Weights) -> Mapping[str, Any] | None:
    """What a file written by this project, under the libraries' names, says of its network.

    None for any other file, for a conversion to another layout, and for a pre-trained encoder.
    """
    record = weights.meta.get('student')
    if record is None and Path(weights.path).is_file():
        try:
            record = read_sidecar(weights.path)
        except UserError:  # of something else: no reason to refuse the weights
            return None
    if not isinstance(record, Mapping) or record.get('layout', 'ours') != 'ours':
        return None
    network = record.get('network')
    return network if isinstance(network, Mapping) else None


def _off(state: Mapping[str, Tensor], own: set[str]) -> int:
    """How many names are missing or, in a part that the model has, unknown."""
    parts = {name.partition('.')[0] for name in own}
    extra = [n for n in state if n not in own and n.partition('.')[0] in parts]
    return len(own - set(state)) + len(extra)
