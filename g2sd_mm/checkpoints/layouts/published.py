"""The published names, which are ours inside the networks: the hub that every layout goes through.

Three name spaces: networks of one ViT (MAE, G2SD's students, classifiers), detectron2's ViTDet and
mmseg 0.11's segmentors.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from torch import Tensor

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
