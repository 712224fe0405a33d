"""Say in plain words what a weights file is, from the names in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum

from torch import Tensor


class Kind(Enum):
    """Kinds of weights files; the value is what people call them."""

    STAGE1_RUN = 'a stage-1 training checkpoint of this project'
    STAGE2_RUN = 'a stage-2 training checkpoint of this project (student with adapters)'
    MAE_RUN = 'an MAE pre-training checkpoint of this project'
    SEG_DISTILLER = 'an official segmentation distiller (student and teacher in one file)'
    G2SD_STUDENT = 'an official stage-1 student (encoder, small decoder and predictors)'
    G2SD_CLASSIFIER = 'a distilled classifier with a dist token'
    MAE_FULL = 'a full masked autoencoder (encoder and decoder)'
    MAE_FINETUNED = 'a fine-tuned MAE classifier (fc_norm and head)'
    TIMM_CLASSIFIER = 'a timm-style ViT classifier'
    MAE_ENCODER = 'an encoder-only MAE'
    DETECTRON2 = 'a detectron2 ViTDet detector'
    MMPRETRAIN_MAE = 'an mmpretrain MAE or ViT'
    MM_CLASSIFIER = 'an mmpretrain classifier with our backbone'
    MM_DETECTOR = 'an mmdet detector'
    MM_SEGMENTOR = 'an mmseg segmentor'
    HUGGING_FACE = 'a Hugging Face ViT or ViTMAE'
    UNKNOWN = 'a file of another model'


def _any(names: Iterable[str], *prefixes: str) -> bool:
    return any(name.startswith(prefixes) for name in names)


# First rule that holds wins: the more particular ones stand first.
_RULES: tuple[tuple[Kind, Callable[[set[str]], bool]], ...] = (
    (Kind.SEG_DISTILLER, lambda n: _any(n, 'student.') and _any(n, 'teacher.')),
    (Kind.STAGE1_RUN, lambda n: _any(n, 'student.decoder_blocks.')),
    (Kind.STAGE2_RUN, lambda n: _any(n, 'student.')),
    (Kind.MAE_RUN, lambda n: _any(n, 'autoencoder.')),
    (Kind.HUGGING_FACE, lambda n: any('encoder.layer.' in name for name in n)),
    (Kind.MMPRETRAIN_MAE, lambda n: _any(n, 'backbone.layers.', 'layers.')),
    (Kind.DETECTRON2, lambda n: _any(n, 'backbone.net.')),
    (Kind.MM_DETECTOR, lambda n: _any(n, 'rpn_head.', 'roi_head.')),
    (Kind.MM_SEGMENTOR, lambda n: _any(n, 'decode_head.')),
    (Kind.MM_CLASSIFIER, lambda n: _any(n, 'backbone.') and _any(n, 'head.')),
    (Kind.G2SD_STUDENT, lambda n: _any(n, 'decoderfeature_pred.')),
    (Kind.G2SD_CLASSIFIER, lambda n: 'dist_token' in n),
    (Kind.MAE_FULL, lambda n: 'cls_token' in n and _any(n, 'decoder_blocks.')),
    (Kind.MAE_FINETUNED, lambda n: 'cls_token' in n and 'fc_norm.weight' in n),
    (Kind.TIMM_CLASSIFIER, lambda n: _any(n, 'blocks.') and 'head.weight' in n),
    (Kind.MAE_ENCODER, lambda n: 'cls_token' in n and _any(n, 'blocks.') and 'norm.weight' in n),
)


def identify(state: Mapping[str, Tensor]) -> Kind:
    """The kind of a state dict (names as they stand in the file)."""
    names = set(state)
    return next((kind for kind, holds in _RULES if holds(names)), Kind.UNKNOWN)


def describe(state: Mapping[str, Tensor]) -> str:
    """The kind in words, with the size of its transformer where one can be seen."""
    kind = identify(state)
    for name, tensor in state.items():
        if name.endswith('blocks.0.norm1.weight') and 'decoder' not in name:
            depth = 1 + max(_block_number(key) for key in state)
            return f'{kind.value}, ViT of width {tensor.shape[0]} and depth {depth}'
    return kind.value


def _block_number(name: str) -> int:
    head, found, tail = name.partition('blocks.')
    if not found or head.endswith('decoder_') or not tail.split('.')[0].isdigit():
        return -1
    return int(tail.split('.')[0])
