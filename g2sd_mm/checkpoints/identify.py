"""Say in plain words what a weights file is, from the names in it, ViTs of other methods too."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Mapping
from enum import Enum

from torch import Tensor

from .read import Weights, shared_prefix
from .vision import is_sin_cos, vision_encoder
from .vision.names import Names


class Kind(Enum):
    """Kinds of weights files.

    Attributes:
        title: what people call them.
        layout: whose names they have; empty for runs and distillers, which have to be unwrapped
            first, and for what cannot be converted.
    """

    title: str
    layout: str

    def __init__(self, title: str, layout: str) -> None:
        self.title, self.layout = title, layout

    STAGE1_RUN = ('a stage-1 training checkpoint of this project', '')
    FEATURE_RUN = ('a stage-1 training checkpoint of this project (a network of timm)', '')
    STAGE2_RUN = ('a stage-2 training checkpoint of this project (student with adapters)', '')
    MAE_RUN = ('an MAE pre-training checkpoint of this project', '')
    SEG_DISTILLER = ('an official segmentation distiller (student and teacher in one file)', '')
    G2SD_STUDENT = ('an official stage-1 student (encoder, small decoder and predictors)', 'g2sd')
    G2SD_CLASSIFIER = ('a distilled classifier with a dist token', 'g2sd')
    MAE_FULL = ('a full masked autoencoder (encoder and decoder)', 'mae')
    MAE_FINETUNED = (
        'a fine-tuned MAE classifier (fc_norm and head), or a plain ViT like it', 'mae'
    )
    TIMM_DISTILLED = ('a timm-style distilled DeiT (dist token second, with a position)', 'timm')
    TIMM_CLASSIFIER = ('a timm-style ViT classifier', 'timm')
    MAE_ENCODER = ("a ViT encoder of MAE's or DINO's layout", 'mae')
    DETECTRON2 = ('a detectron2 ViTDet detector', 'detectron2')
    MMPRETRAIN_CLASSIFIER = ('an mmpretrain ViT classifier', 'mmpretrain')
    MMPRETRAIN_MAE = ('an mmpretrain MAE or ViT', 'mmpretrain')
    MMSEG_MAE = ('an mmseg segmentor with its MAE or BEiT backbone', 'mmseg')
    MM_CLASSIFIER = ('an mmpretrain classifier with our backbone', 'ours')
    MM_DETECTOR = ('an mmdet detector', 'ours')
    MM_SEGMENTOR = ('an mmseg segmentor', 'ours')
    PUBLISHED_SEGMENTOR = ('an official segmentor (mmseg 0.11 names)', 'g2sd')
    HUGGING_FACE_MAE = ('a Hugging Face ViTMAE (encoder and decoder)', 'huggingface')
    HUGGING_FACE_DEIT = ('a Hugging Face DeiT with two heads', 'huggingface')
    HUGGING_FACE = ('a Hugging Face ViT, Beit or ViTMAE encoder', 'huggingface')
    OTHER_ENCODER = ('a vision encoder that no student here is', '')
    UNKNOWN = ('a file of another model', '')


def _any(names: Iterable[str], *prefixes: str) -> bool:
    return any(name.startswith(prefixes) for name in names)


def _within(names: Iterable[str], *parts: str) -> bool:
    return any(part in name for name in names for part in parts)


def _hugging_face(names: Iterable[str]) -> bool:
    return _within(names, 'encoder.layer.', '.attention.q_proj.')


# First rule that holds wins: the more particular ones stand first.
_RULES: tuple[tuple[Kind, Callable[[Mapping[str, Tensor]], bool]], ...] = (
    (Kind.SEG_DISTILLER, lambda n: _any(n, 'student.') and _any(n, 'teacher.')),
    (Kind.STAGE1_RUN, lambda n: _any(n, 'student.decoder_blocks.', 'student.patch_embed.')),
    (Kind.FEATURE_RUN, lambda n: _any(n, 'student.network.')),
    (Kind.STAGE2_RUN, lambda n: _any(n, 'student.')),
    (Kind.MAE_RUN, lambda n: _any(n, 'autoencoder.')),
    (Kind.OTHER_ENCODER, lambda n: vision_encoder(n) is not None),
    (
        Kind.HUGGING_FACE_MAE,
        lambda n: _any(n, 'decoder.decoder_layers.', 'decoder.decoder_encoder.layer.'),
    ),
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
    (Kind.PUBLISHED_SEGMENTOR, lambda n: _any(n, 'backbone.fpn') and _any(n, 'decode_head.')),
    (Kind.MM_SEGMENTOR, lambda n: _any(n, 'decode_head.')),
    (Kind.MM_CLASSIFIER, lambda n: _any(n, 'backbone.') and _any(n, 'head.')),
    (Kind.G2SD_STUDENT, lambda n: _any(n, 'decoderfeature_pred.')),
    (Kind.G2SD_CLASSIFIER, lambda n: 'dist_token' in n),  # or TIMM_DISTILLED, by its positions
    (Kind.MAE_FULL, lambda n: 'cls_token' in n and _any(n, 'decoder_blocks.')),
    (Kind.MAE_FINETUNED, lambda n: 'cls_token' in n and 'fc_norm.weight' in n),
    (Kind.TIMM_CLASSIFIER, lambda n: _any(n, 'blocks.') and 'head.weight' in n),
    (Kind.MAE_ENCODER, lambda n: 'cls_token' in n and _any(n, 'blocks.') and 'norm.weight' in n),
)

#: What stands before the names of the network that is trained, in checkpoints of runs.
TRAINED: dict[Kind, str] = {
    Kind.STAGE1_RUN: 'student.',
    Kind.FEATURE_RUN: 'student.network.',
    Kind.STAGE2_RUN: 'student.',
    Kind.SEG_DISTILLER: 'student.',
    Kind.MAE_RUN: 'autoencoder.',
}


def identify(state: Mapping[str, Tensor], grid: tuple[int, int] | None = None) -> Kind:
    """The kind of a state dict (names as they stand in the file).

    ``grid``: rows and columns of patches, where the file says them; else two kinds of classifiers
    with a dist token are told apart by their positions, see :func:`doubt`.
    """
    kind = next((kind for kind, holds in _RULES if holds(state)), Kind.UNKNOWN)
    if kind is not Kind.G2SD_CLASSIFIER:
        return kind
    return Kind.TIMM_DISTILLED if _dist_position(state, grid)[0] else kind


def doubt(weights: Weights) -> str:
    """What is not certain about positions beside a dist token, and how to settle it; else empty.

    A published classifier has none for this token, and timm's has one. For 7 x 7 patches the former
    has as many as the latter for 6 x 8.
    """
    state, grid = weights.state, weights.grid
    if identify(state, grid) is not Kind.G2SD_CLASSIFIER or _dist_position(state, grid)[1]:
        return ''
    rows = state['pos_embed'].shape[1]
    own, theirs = _squarest(rows - 1), _squarest(rows - 2)
    return (
        f'{weights.name}: its {rows} positions are taken for a class token and {own} patches, with '
        f"none for the dist token; if it is timm's, with one, there are {theirs} patches or as "
        'many in other rows x columns: say which it is, python tools/checkpoint.py convert '
        f'{shlex.quote(weights.path)} OUT.pth --to same --grid {theirs} (or {own})'
    )


def has_square_grid(weights: Weights) -> bool:
    """Whether positions fit a class token and a square of patches, as those of most files do."""
    return _is_square(weights.state['pos_embed'].shape[1] - 1)


def raw_pixels(weights: Weights) -> bool:
    """True for an autoencoder that its name or content says was trained on raw pixels."""
    return (
        'visualize' in weights.name
        or str(weights.meta.get('norm_pix')) == 'False'  # text in a .safetensors file
        or weights.args.get('norm_pix_loss') is False
    )


def describe(state: Mapping[str, Tensor]) -> str:
    """The kind in words, with the size of its transformer where one can be seen."""
    title = title_of(state)
    for name, tensor in state.items():
        if name.endswith('blocks.0.norm1.weight') and 'decoder' not in name:
            return f'{title}, ViT of width {tensor.shape[0]} and depth {Names(state).depth}'
    return title.replace(' with our backbone', '')  # a ResNet's, for one


def title_of(state: Mapping[str, Tensor]) -> str:
    """The kind in words; of other vision encoders, which; of unknown names, their prefix.

    Networks that were trained in different ways can have the same names and shapes. Then the title
    is of all of them: of plain ViTs only a table of sines and cosines shows that one is MAE's.
    """
    kind = identify(state)
    if kind is Kind.UNKNOWN and len(state) > 4 and (prefix := shared_prefix(state)):
        return f'{kind.title} (all names begin with "{prefix}")'
    if kind is Kind.MAE_ENCODER and 'pos_embed' in state and not state['pos_embed'].is_meta:
        if is_sin_cos(state['pos_embed']):
            return 'an encoder-only MAE'
        return "a plain ViT encoder with learnt positions (DINO's or another's; MAE's are fixed)"
    encoder = vision_encoder(state) if kind is Kind.OTHER_ENCODER else None
    return kind.title if encoder is None else encoder.title


def _dist_position(
    state: Mapping[str, Tensor], grid: tuple[int, int] | None
) -> tuple[bool, bool]:
    """Whether the second row of positions is the dist token's, and whether that is certain."""
    table = state.get('pos_embed')
    if table is None or table.ndim != 3 or table.shape[1] < 3:
        return False, True
    patches = table.shape[1] - 2
    if grid is not None:
        return patches == grid[0] * grid[1], True
    if not table.is_meta and table.any() and not table[0, 1].any():
        return True, True  # as conversions to timm's layout write it; no patch has such a position
    if is_sin_cos(table):
        return False, True
    square = _is_square(patches)
    return square, square


def _is_square(number: int) -> bool:
    return math.isqrt(number) ** 2 == number


def _squarest(number: int) -> str:
    """Rows x columns of so many patches, as near to a square as can be."""
    rows = next(side for side in range(math.isqrt(number), 0, -1) if number % side == 0)
    return f'{rows}x{number // rows}'
