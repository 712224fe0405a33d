"""The published names, which are ours inside the networks: the hub that every layout goes through.

Three name spaces: networks of one ViT (MAE, G2SD's students, classifiers), detectron2's ViTDet and
mmseg 0.11's segmentors. The layouts that have these names stand at the end: MAE, the five kinds of
G2SD files, detectron2, timm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

import torch
from torch import Tensor

from .rules import Rule, State, same

BLOCK = (
    'norm1.{p}',
    'attn.qkv.{p}',
    'attn.proj.{p}',
    'norm2.{p}',
    'mlp.fc1.{p}',
    'mlp.fc2.{p}',
)
BLOCKS = tuple(f'blocks.{{i}}.{name}' for name in BLOCK)
ENCODER = ('cls_token', 'pos_embed', 'patch_embed.proj.{p}', *BLOCKS, 'norm.{p}')
DECODER = (
    'mask_token',
    'decoder_pos_embed',
    'decoder_embed.{p}',
    *(f'decoder_{name}' for name in BLOCKS),
    'decoder_norm.{p}',
    'decoder_pred.{p}',
)
PREDICTORS = tuple(
    f'{part}feature_pred.{layer}.{{p}}'
    for part in ('encoder', 'decoder')
    for layer in ('fc1', 'fc2')
)
POOLED_ENCODER = (*ENCODER[:-1], 'fc_norm.{p}')
DISTILLED_ENCODER = (*ENCODER, 'dist_token')

DETECTOR_TRUNK = (
    'backbone.net.pos_embed',
    'backbone.net.patch_embed.proj.{p}',
    *(f'backbone.net.{name}' for name in BLOCKS),
    'backbone.net.blocks.{i}.attn.rel_pos_h',
    'backbone.net.blocks.{i}.attn.rel_pos_w',
)
DETECTOR_PARTS = (
    'backbone.simfp_{i}.{rest}',
    'proposal_generator.rpn_head.{rest}',
    'roi_heads.{rest}',
)
SEGMENTOR_TRUNK = (
    'backbone.cls_token',
    'backbone.pos_embed',
    'backbone.patch_embed.proj.{p}',
    *(f'backbone.{name}' for name in BLOCKS),
    'backbone.blocks.{i}.gamma_{j}',
    'backbone.blocks.{i}.attn.relative_position_bias_table',
)
SEGMENTOR_PYRAMID = ('backbone.fpn{i}.{rest}',)
SEGMENTOR_HEADS = ('decode_head.{rest}', 'auxiliary_head.{rest}')


def depth_of(state: Mapping[str, Tensor], prefix: str) -> int:
    """How many blocks there are below a prefix."""
    return len({name[len(prefix) :].split('.')[0] for name in state if name.startswith(prefix)})


class Family(Enum):
    """What a network is, whatever its names; the value is how it is called in messages."""

    MAE = 'a masked autoencoder or its encoder'
    CLASSIFIER = 'a classifier by class token'
    POOLED = 'a classifier by mean patch token'
    DISTILLED = 'a classifier with a dist token'
    DETECTOR = 'a Mask R-CNN on ViTDet'
    SEGMENTOR = 'an UPerNet segmentor'


def family_of(state: Mapping[str, Tensor]) -> Family:
    """The family of a state dict under published names."""
    if any(name.startswith(('backbone.net.', 'roi_heads.')) for name in state):
        return Family.DETECTOR
    if any(name.startswith(('backbone.', 'decode_head.')) for name in state):
        return Family.SEGMENTOR
    if 'dist_token' in state:
        return Family.DISTILLED
    if 'fc_norm.weight' in state:
        return Family.POOLED
    return Family.CLASSIFIER if 'head.weight' in state else Family.MAE


def _unchanged(state: State) -> State:
    return state


@dataclass(frozen=True)
class Layout:
    """One library's way to name and arrange the weights of a network.

    Args:
        name: as ``--to`` takes it.
        title: the library, for messages and the documentation.
        tables: what it can hold, and under which names.
        cannot_hold: patterns (``fnmatch``) of published names that it has no place for and that it
            may be written without; each is reported.
        not_weights: patterns of its own names that carry nothing a network here could use; left
            out when it is read, and reported.
        wrapper: key under which its ``.pth`` files keep the tensors; None for bare files.
        wrappers: the same for families whose files differ.
        tidy: its variants' names -> those of the tables.
        arrange, undo: change published tensors into its arrangement, and back.
    """

    name: str
    title: str
    tables: Mapping[Family, tuple[Rule, ...]]
    cannot_hold: tuple[str, ...] = ()
    not_weights: tuple[str, ...] = ()
    wrapper: str | None = None
    wrappers: Mapping[Family, str] = field(default_factory=dict)
    tidy: Callable[[State], State] = _unchanged
    arrange: Callable[[State], State] = _unchanged
    undo: Callable[[State], State] = _unchanged

    def wrapper_of(self, family: Family) -> str | None:
        """Key under which the layout's ``.pth`` files of a family keep the tensors."""
        return self.wrappers.get(family, self.wrapper)


# Attention does not know the order of its tokens, and norms and heads look at one token at a time:
# moving the token changes nothing but its number. Its position becomes a row of zeros.

def dist_second(state: State) -> State:
    """Published names, ``pos_embed`` [1, 1 + N, D] -> [1, 2 + N, D] with a row of zeros second."""
    if 'dist_token' not in state:
        return state
    positions = state['pos_embed']
    row = torch.zeros_like(positions[:, :1])
    return {**state, 'pos_embed': torch.cat([positions[:, :1], row, positions[:, 1:]], dim=1)}


def dist_last(state: State) -> State:
    """Undoes :func:`dist_second`; a position that DeiT learnt is added to the token itself."""
    if 'dist_token' not in state:
        return state
    positions = state['pos_embed']
    row, token = positions[:, 1:2], state['dist_token']
    if not row.is_meta and row.any():  # adding zeros could still turn -0.0 into 0.0
        token = token + row
    rest = torch.cat([positions[:, :1], positions[:, 2:]], dim=1)
    return {**state, 'dist_token': token, 'pos_embed': rest}


_ONE_TOKEN = {
    Family.CLASSIFIER: same((*ENCODER, 'head.{p}')),
    Family.POOLED: same((*POOLED_ENCODER, 'head.{p}')),
}
MAE = Layout(
    name='mae',
    title='facebookresearch/mae',
    tables={
        Family.MAE: same((*ENCODER, *DECODER)),
        **_ONE_TOKEN,
    },
    cannot_hold=('encoderfeature_pred.*', 'decoderfeature_pred.*'),
    wrapper='model',
)
G2SD = Layout(
    name='g2sd',
    title='the published G2SD (stage-1 student, two classifiers, detector, segmentor)',
    tables={
        Family.MAE: same((*ENCODER, *DECODER, *PREDICTORS)),
        **_ONE_TOKEN,
        Family.DISTILLED: same((*DISTILLED_ENCODER, 'head.{p}', 'head_dist.{p}')),
        Family.DETECTOR: same((*DETECTOR_TRUNK, *DETECTOR_PARTS)),
        Family.SEGMENTOR: same((*SEGMENTOR_TRUNK, *SEGMENTOR_PYRAMID, *SEGMENTOR_HEADS)),
    },
    not_weights=(
        'pixel_mean',
        'pixel_std',
        'proposal_generator.anchor_generator.*',
        'stu_adapter.*',
        '*.relative_position_index',
    ),
    wrapper='model',
    wrappers={Family.SEGMENTOR: 'state_dict'},
)
DETECTRON2 = Layout(
    name='detectron2',
    title='detectron2 ViTDet Mask R-CNN',
    tables={Family.DETECTOR: G2SD.tables[Family.DETECTOR]},
    not_weights=G2SD.not_weights,
    wrapper='model',
)
TIMM = Layout(
    name='timm',
    title='timm VisionTransformer or VisionTransformerDistilled',
    tables={
        Family.MAE: same(ENCODER),
        **_ONE_TOKEN,
        Family.DISTILLED: same((*DISTILLED_ENCODER, 'head.{p}', 'head_dist.{p}')),
    },
    cannot_hold=('mask_token', 'decoder_*', 'encoderfeature_pred.*', 'decoderfeature_pred.*'),
    arrange=dist_second,
    undo=dist_last,
)
