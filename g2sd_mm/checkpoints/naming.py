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
from .convert import in_published_names
from .identify import LAYOUT_OF, Kind, identify
from .layouts import Family, family_of
from .layouts.mae import G2SD
from .layouts.openmmlab import OURS
from .layouts.rules import State, fits, to_theirs
from .read import Weights, below
from .record import read_sidecar

_DISTILLED = (Kind.STAGE2_RUN, Kind.SEG_DISTILLER)


def state_for(weights: Weights, names: Iterable[str]) -> State:
    """The tensors of a file under the names that a task model has.

    Args:
        weights: a file of this project, of the model's own library, or a published one.
        names: of the model's state dict; none if it is not known. Parts of the file that the model
            does not have at all (heads that a teacher does not run) do not count.

    Returns:
        tensors as they are in the file (of a distilled run, the student), or renamed. What is
        missing or unknown is for :func:`~g2sd_mm.checkpoints.fill.fill` to report.

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


def task_model_state(weights: Weights) -> State:
    """The tensors of a classifier, detector or segmentor under the mm libraries' names.

    A file that has them already is returned as it is; of a distilled run's checkpoint, the student.
    Other than a conversion, this lets a name pass that no table knows: the loader reports it
    together with everything else that is off.
    """
    state = weights.state
    kind = identify(state)
    if kind in (Kind.STAGE2_RUN, Kind.SEG_DISTILLER):
        state = below(state, 'student.')
        kind = identify(state)
    # of our own names, a segmentor's may still hold indices that are computed
    if LAYOUT_OF.get(kind, 'ours') == 'ours' and kind is not Kind.MM_SEGMENTOR:
        return dict(state)
    published = in_published_names(weights) if state is weights.state else state
    if family_of(published) is Family.MAE:
        return dict(state)  # no task model: the loader says what it is
    return in_our_names(published)


def in_our_names(state: Mapping[str, Tensor]) -> State:
    """A classifier, detector or segmentor under published names -> under the mm libraries'."""
    family = family_of(state)
    kept = {name: t for name, t in state.items() if not fits(name, G2SD.not_weights)}
    done = to_theirs(kept, OURS.tables[family])
    # unknown names stay, among the backbone's where that is where a bare ViT's belong
    prefix = '' if family in (Family.DETECTOR, Family.SEGMENTOR) else 'backbone.'
    return done.state | {prefix + name: kept[name] for name in done.unknown}
