"""Published layouts of whole task models under the names that the mm libraries give them."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from .detection import detectron2_detector
from .identify import Kind, identify
from .read import Weights, below
from .segmentation import published_segmentation_distiller, published_segmentor

State = dict[str, Tensor]


def task_model_state(weights: Weights) -> State:
    """The tensors of a classifier, detector or segmentor under the mm libraries' names.

    A file that has them already is returned as it is; of a distilled run's checkpoint, the student.
    """
    rename = _RENAMES.get(identify(weights.state))
    return rename(weights.state) if rename else dict(weights.state)


def published_classifier(state: State) -> State:
    """MAE's and G2SD's classifiers -> an ``ImageClassifier`` with our backbone.

    ``head`` becomes ``head.fc``, or, where there is a ``head_dist`` too, both lie in
    ``head.layers``; everything else is the backbone.
    """
    two_tokens = 'head_dist.weight' in state
    renamed = {}
    for name, tensor in state.items():
        if name.startswith(('head.', 'head_dist.')):
            head, _, parameter = name.partition('.')
            place = f'layers.{head}' if two_tokens else 'fc'
            renamed[f'head.{place}.{parameter}'] = tensor
        else:
            renamed[f'backbone.{name}'] = tensor
    return renamed


def _student(state: State) -> State:
    return below(state, 'student.')


_RENAMES: dict[Kind, Callable[[State], State]] = {
    Kind.MAE_FINETUNED: published_classifier,
    Kind.TIMM_CLASSIFIER: published_classifier,
    Kind.G2SD_CLASSIFIER: published_classifier,
    Kind.DETECTRON2: detectron2_detector,
    Kind.STAGE2_RUN: _student,
    Kind.MM_SEGMENTOR: published_segmentor,
    Kind.SEG_DISTILLER: published_segmentation_distiller,
}
