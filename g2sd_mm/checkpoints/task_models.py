"""Published task models under the names that the mm libraries give them, for loading.

Other than a conversion, these let a name pass that no table knows: the loader reports it together
with everything else that is off.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from .convert import in_published_names
from .identify import LAYOUT_OF, Kind, identify
from .layouts import Family, family_of
from .layouts.mae import G2SD
from .layouts.ours import OURS
from .layouts.rules import State, fits, to_theirs
from .read import Weights, below


def task_model_state(weights: Weights) -> State:
    """The tensors of a classifier, detector or segmentor under the mm libraries' names.

    A file that has them already is returned as it is; of a distilled run's checkpoint, the student.
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
    family = family_of(published)
    if family is Family.MAE:
        return dict(state)  # no task model: the loader says what it is
    return _as_ours(published, family)


def published_classifier(state: Mapping[str, Tensor]) -> State:
    """MAE's and G2SD's classifiers -> an ``ImageClassifier`` with our backbone.

    ``head`` becomes ``head.fc``, or, where there is a ``head_dist`` too, both lie in
    ``head.layers``; everything else is the backbone.
    """
    return _as_ours(state, family_of(state))


def detectron2_detector(state: Mapping[str, Tensor]) -> State:
    """A detectron2 ViTDet -> mmdet's ``MaskRCNN`` with our parts."""
    return _as_ours(state, Family.DETECTOR)


def published_segmentor(state: Mapping[str, Tensor]) -> State:
    """A published segmentor -> mmseg 1.x; one that has its names already stays as it is."""
    return _as_ours(state, Family.SEGMENTOR)


def _as_ours(state: Mapping[str, Tensor], family: Family) -> State:
    kept = {name: t for name, t in state.items() if not fits(name, G2SD.not_weights)}
    done = to_theirs(kept, OURS.tables[family])
    # unknown names stay, among the backbone's where that is where a bare ViT's belong
    prefix = '' if family in (Family.DETECTOR, Family.SEGMENTOR) else 'backbone.'
    return done.state | {prefix + name: kept[name] for name in done.unknown}
