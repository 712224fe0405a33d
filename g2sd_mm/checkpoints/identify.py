"""Say in plain words what a weights file is, from the names in it, ViTs of other methods too."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from enum import Enum

from torch import Tensor

from .read import Weights, shared_prefix


class Kind(Enum):
    """Kinds of weights files; the value is what people call them."""

    STAGE1_RUN = 'a stage-1 training checkpoint of this project'
    FEATURE_RUN = 'a stage-1 training checkpoint of this project (a network of timm)'
    STAGE2_RUN = 'a stage-2 training checkpoint of this project (student with adapters)'
    MAE_RUN = 'an MAE pre-training checkpoint of this project'
    SEG_DISTILLER = 'an official segmentation distiller (student and teacher in one file)'
    G2SD_STUDENT = 'an official stage-1 student (encoder, small decoder and predictors)'
    G2SD_CLASSIFIER = 'a distilled classifier with a dist token'
    MAE_FULL = 'a full masked autoencoder (encoder and decoder)'
    MAE_FINETUNED = 'a fine-tuned MAE classifier (fc_norm and head), or a plain ViT like it'
    TIMM_DISTILLED = 'a timm-style distilled DeiT (dist token second, with a position)'
    TIMM_CLASSIFIER = 'a timm-style ViT classifier'
    MAE_ENCODER = 'an encoder-only MAE'
    DETECTRON2 = 'a detectron2 ViTDet detector'
    MMPRETRAIN_CLASSIFIER = 'an mmpretrain ViT classifier'
    MMPRETRAIN_MAE = 'an mmpretrain MAE or ViT'
    MMSEG_MAE = 'an mmseg segmentor with its MAE or BEiT backbone'
    MM_CLASSIFIER = 'an mmpretrain classifier with our backbone'
    MM_DETECTOR = 'an mmdet detector'
    MM_SEGMENTOR = 'an mmseg segmentor'
    PUBLISHED_SEGMENTOR = 'an official segmentor (mmseg 0.11 names)'
    HUGGING_FACE_MAE = 'a Hugging Face ViTMAE (encoder and decoder)'
    HUGGING_FACE_DEIT = 'a Hugging Face DeiT with two heads'
    HUGGING_FACE = 'a Hugging Face ViT, Beit or ViTMAE encoder'
    OTHER_VIT = 'a ViT that no network here is'
    UNKNOWN = 'a file of another model'


Names = Mapping[str, Tensor]


def _any(names: Iterable[str], *prefixes: str) -> bool:
    return any(name.startswith(prefixes) for name in names)


def _within(names: Iterable[str], *parts: str) -> bool:
    return any(part in name for name in names for part in parts)


def _hugging_face(names: Names) -> bool:
    return _within(names, 'encoder.layer.', '.attention.q_proj.')


# First rule that holds wins: the more particular ones stand first.
_RULES: tuple[tuple[Kind, Callable[[Names], bool]], ...] = (
    (Kind.SEG_DISTILLER, lambda n: _any(n, 'student.') and _any(n, 'teacher.')),
    (Kind.STAGE1_RUN, lambda n: _any(n, 'student.decoder_blocks.', 'student.patch_embed.')),
    (Kind.FEATURE_RUN, lambda n: _any(n, 'student.network.')),
    (Kind.STAGE2_RUN, lambda n: _any(n, 'student.')),
    (Kind.MAE_RUN, lambda n: _any(n, 'autoencoder.')),
    (Kind.OTHER_VIT, lambda n: bool(other_vit(n))),
    (Kind.HUGGING_FACE_MAE, lambda n: _any(n, 'decoder.decoder_layers.')),
    (
        Kind.HUGGING_FACE_DEIT,
        lambda n: _hugging_face(n) and _within(n, 'embeddings.distillation_token'),
    ),
    (Kind.HUGGING_FACE, _hugging_face),
    (
        Kind.MMSEG_MAE,
        lambda n: _any(n, 'backbone.layers.', 'layers.')
        and (_any(n, 'decode_head.') or _within(n, '.relative_position_bias_table'))
        # mmseg's own ViT, and SegFormer's layers of layers
        and not (_within(n, '.attn.attn.in_proj') or _any(n, 'backbone.layers.0.0.')),
    ),
    (Kind.MMPRETRAIN_CLASSIFIER, lambda n: _any(n, 'backbone.layers.') and _any(n, 'head.')),
    (
        Kind.MMPRETRAIN_MAE,
        lambda n: _any(n, 'backbone.layers.', 'layers.') and _within(n, 'ln1.'),
    ),
    (Kind.DETECTRON2, lambda n: _any(n, 'backbone.net.')),
    (Kind.MM_DETECTOR, lambda n: _any(n, 'rpn_head.', 'roi_head.')),
    (Kind.PUBLISHED_SEGMENTOR, lambda n: _any(n, 'backbone.fpn1.') and _any(n, 'decode_head.')),
    (Kind.MM_SEGMENTOR, lambda n: _any(n, 'decode_head.')),
    (Kind.MM_CLASSIFIER, lambda n: _any(n, 'backbone.') and _any(n, 'head.')),
    (Kind.G2SD_STUDENT, lambda n: _any(n, 'decoderfeature_pred.')),
    (Kind.TIMM_DISTILLED, lambda n: 'dist_token' in n and has_dist_position(n)),
    (Kind.G2SD_CLASSIFIER, lambda n: 'dist_token' in n),
    (Kind.MAE_FULL, lambda n: 'cls_token' in n and _any(n, 'decoder_blocks.')),
    (Kind.MAE_FINETUNED, lambda n: 'cls_token' in n and 'fc_norm.weight' in n),
    (Kind.TIMM_CLASSIFIER, lambda n: _any(n, 'blocks.') and 'head.weight' in n),
    (Kind.MAE_ENCODER, lambda n: 'cls_token' in n and _any(n, 'blocks.') and 'norm.weight' in n),
)

#: Layout of every kind that can be converted; runs of this project and distillers have to be
#: unwrapped first.
LAYOUT_OF: dict[Kind, str] = {
    Kind.G2SD_STUDENT: 'g2sd',
    Kind.G2SD_CLASSIFIER: 'g2sd',
    Kind.PUBLISHED_SEGMENTOR: 'g2sd',
    Kind.MAE_FULL: 'mae',
    Kind.MAE_FINETUNED: 'mae',
    Kind.MAE_ENCODER: 'mae',
    Kind.TIMM_CLASSIFIER: 'timm',
    Kind.TIMM_DISTILLED: 'timm',
    Kind.DETECTRON2: 'detectron2',
    Kind.MMPRETRAIN_MAE: 'mmpretrain',
    Kind.MMPRETRAIN_CLASSIFIER: 'mmpretrain',
    Kind.MMSEG_MAE: 'mmseg',
    Kind.MM_CLASSIFIER: 'ours',
    Kind.MM_DETECTOR: 'ours',
    Kind.MM_SEGMENTOR: 'ours',
    Kind.HUGGING_FACE_MAE: 'huggingface',
    Kind.HUGGING_FACE_DEIT: 'huggingface',
    Kind.HUGGING_FACE: 'huggingface',
}


def identify(state: Mapping[str, Tensor]) -> Kind:
    """The kind of a state dict (names as they stand in the file)."""
    return next((kind for kind, holds in _RULES if holds(state)), Kind.UNKNOWN)


def raw_pixels(weights: Weights) -> bool:
    """True for an autoencoder that its name or content says was trained on raw pixels."""
    return (
        'visualize' in weights.name
        or weights.meta.get('norm_pix') is False
        or weights.args.get('norm_pix_loss') is False
    )


def describe(state: Mapping[str, Tensor]) -> str:
    """The kind in words, with the size of its transformer where one can be seen."""
    title = title_of(state)
    for name, tensor in state.items():
        if name.endswith('blocks.0.norm1.weight') and 'decoder' not in name:
            depth = 1 + max(_block_number(key) for key in state)
            return f'{title}, ViT of width {tensor.shape[0]} and depth {depth}'
    return title


def title_of(state: Mapping[str, Tensor]) -> str:
    """The kind in words; of a ViT of another method, which; of unknown names, their prefix."""
    kind = identify(state)
    if kind is Kind.UNKNOWN and len(state) > 4 and (prefix := shared_prefix(state)):
        return f'{kind.value} (all names begin with "{prefix}")'
    return other_vit(state) or kind.value if kind is Kind.OTHER_VIT else kind.value


def has_dist_position(state: Mapping[str, Tensor], name: str = 'pos_embed') -> bool:
    """True if a square grid of patches leaves two rows of the position embedding over."""
    if name not in state:
        return False
    patches = state[name].shape[1] - 2
    return patches > 0 and math.isqrt(patches) ** 2 == patches


def _block_number(name: str) -> int:
    head, found, tail = name.partition('blocks.')
    if not found or head.endswith('decoder_') or not tail.split('.')[0].isdigit():
        return -1
    return int(tail.split('.')[0])


def _bare(names: Names) -> bool:
    """timm's arrangement: blocks and patches without anything before them."""
    return any(name.startswith('blocks.') for name in names) and any(
        name.startswith('patch_embed.') for name in names
    )


def _q_bias(names: Names) -> bool:
    return _bare(names) and _within(names, '.attn.q_bias')


def _scaled(names: Names) -> bool:
    return _bare(names) and _within(names, '.ls1.')


def _hf_scaled(names: Names) -> bool:
    return _within(names, '.layer_scale1.')


def _hf_beit(names: Names) -> bool:
    return _within(names, '.lambda_1', '.relative_position_bias_table') and _within(
        names, '.attention.query.', '.attention.q_proj.'
    )


def _self_attention(names: Names) -> bool:
    return _within(names, '.self_attn.q_proj.') and _within(names, 'embeddings.patch_embedding.')


#: What a file is, by the first rule that holds.
OTHER_VITS: tuple[tuple[str, Callable[[Names], bool]], ...] = (
    (
        'a DINOv3 ViT (registers, layer scale, rotary positions)',
        lambda n: (
            _bare(n) and _within(n, '.gamma_1') and 'pos_embed' not in n and 'reg_token' in n
        )
        or (_hf_scaled(n) and _within(n, '.mlp.up_proj.', '.mlp.gate_proj.')),
    ),
    (
        'a BEiT, BEiT v2 or data2vec ViT (relative positions, layer scale)',
        lambda n: (_bare(n) and _within(n, 'relative_position_bias_table')) or _hf_beit(n),
    ),
    (
        'an EVA ViT (no bias of keys)',
        lambda n: _q_bias(n) or (_bare(n) and _within(n, '.mlp.w12.')),
    ),
    ('an EVA-02 ViT (gated layers)', lambda n: _bare(n) and _within(n, '.attn.q_proj.', '.fc1_g.')),
    ('a SigLIP ViT (pooled by attention)', lambda n: _bare(n) and _within(n, 'attn_pool.')),
    (
        'a SigLIP model (Hugging Face names)',
        lambda n: _self_attention(n) and _within(n, 'head.probe'),
    ),
    ('a CLIP ViT (a norm before the blocks)', lambda n: _bare(n) and 'norm_pre.weight' in n),
    (
        'a CLIP model (Hugging Face names)',
        lambda n: _self_attention(n) and _within(n, 'pre_layrnorm.'),
    ),
    ("a CLIP model (OpenAI's names)", lambda n: _within(n, 'transformer.resblocks.')),
    (
        'a DINOv2 ViT (layer scale)',
        lambda n: (_scaled(n) and 'head.weight' not in n) or _hf_scaled(n),
    ),
    ('a DeiT III ViT or another with layer scale', _scaled),
    (
        'a SAM image encoder',
        lambda n: _bare(n) and _within(n, '.attn.rel_pos_h') and 'neck.0.weight' in n,
    ),
    (
        'a ViT with blocks of another kind',
        lambda n: _bare(n)
        and _within(n, '.attns.', '.gamma_1', '.q_norm.', 'reg_token', '.mlp.norm.', '.attn.norm.'),
    ),
)


def other_vit(names: Names) -> str:
    """What a state dict is if it is a ViT that no network here is; else empty."""
    return next((title for title, holds in OTHER_VITS if holds(names)), '')
