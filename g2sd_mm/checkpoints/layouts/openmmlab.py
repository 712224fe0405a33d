"""Names of the mm libraries: this project's task models and autoencoders, mmpretrain's, mmseg's."""

from __future__ import annotations

from .published import (
    DECODER,
    DISTILLED_ENCODER,
    ENCODER,
    POOLED_ENCODER,
    PREDICTORS,
    SEGMENTOR_HEADS,
    SEGMENTOR_TRUNK,
    Family,
    Layout,
    dist_last,
    dist_second,
)
from .rules import Rule, State, same

# Class order (background last), anchor order and box coding of detectron2 and mmdet agree, so that
# renaming is all there is to do. First rule that fits.
DETECTOR = (
    Rule('backbone.net.{rest}', 'backbone.{rest}'),
    Rule('backbone.simfp_{rest}', 'neck.simfp_{rest}'),
    Rule('proposal_generator.rpn_head.conv.conv{i}.{p}', 'rpn_head.rpn_conv.{i}.conv.{p}'),
    Rule('proposal_generator.rpn_head.objectness_logits.{p}', 'rpn_head.rpn_cls.{p}'),
    Rule('proposal_generator.rpn_head.anchor_deltas.{p}', 'rpn_head.rpn_reg.{p}'),
    Rule('roi_heads.box_head.conv{i+1}.norm.{p}', 'roi_head.bbox_head.shared_convs.{i}.ln.{p}'),
    Rule('roi_heads.box_head.conv{i+1}.{p}', 'roi_head.bbox_head.shared_convs.{i}.conv.{p}'),
    Rule('roi_heads.box_head.fc{i+1}.{p}', 'roi_head.bbox_head.shared_fcs.{i}.{p}'),
    Rule('roi_heads.box_predictor.cls_score.{p}', 'roi_head.bbox_head.fc_cls.{p}'),
    Rule('roi_heads.box_predictor.bbox_pred.{p}', 'roi_head.bbox_head.fc_reg.{p}'),
    Rule('roi_heads.mask_head.mask_fcn{i+1}.norm.{p}', 'roi_head.mask_head.convs.{i}.ln.{p}'),
    Rule('roi_heads.mask_head.mask_fcn{i+1}.{p}', 'roi_head.mask_head.convs.{i}.conv.{p}'),
    Rule('roi_heads.mask_head.deconv.{p}', 'roi_head.mask_head.upsample.{p}'),
    Rule('roi_heads.mask_head.predictor.{p}', 'roi_head.mask_head.conv_logits.{p}'),
)
# The published ViT makes its own four scales; here mmseg's Feature2Pyramid does, with the same
# layers: up-sampling by 4 (deconvolution, norm, GELU, deconvolution) and by 2 (deconvolution).
PYRAMID = (
    Rule('backbone.fpn1.{rest}', 'neck.upsample_4x.{rest}'),
    Rule('backbone.fpn2.{rest}', 'neck.upsample_2x.{rest}'),
)
ONE_HEAD = (Rule('head.{p}', 'head.fc.{p}'),)
TWO_HEADS = (
    Rule('head.{p}', 'head.layers.head.{p}'),
    Rule('head_dist.{p}', 'head.layers.head_dist.{p}'),
)

OURS = Layout(
    name='ours',
    title='g2sd_mm',
    tables={
        Family.MAE: same((*ENCODER, *DECODER, *PREDICTORS)),
        Family.CLASSIFIER: (*same(ENCODER, 'backbone.'), *ONE_HEAD),
        Family.POOLED: (*same(POOLED_ENCODER, 'backbone.'), *ONE_HEAD),
        Family.DISTILLED: (*same(DISTILLED_ENCODER, 'backbone.'), *TWO_HEADS),
        Family.DETECTOR: DETECTOR,
        Family.SEGMENTOR: (*same(SEGMENTOR_TRUNK), *PYRAMID, *same(SEGMENTOR_HEADS)),
    },
    not_weights=('data_preprocessor.*', '*.relative_position_index', 'distillation.*'),
    wrapper='state_dict',
)


def mm_blocks(published: str, theirs: str) -> tuple[Rule, ...]:
    """Transformer blocks as the mm libraries name their parts."""
    return (
        Rule(f'{published}.norm1.{{p}}', f'{theirs}.ln1.{{p}}'),
        Rule(f'{published}.attn.qkv.{{p}}', f'{theirs}.attn.qkv.{{p}}'),
        Rule(f'{published}.attn.proj.{{p}}', f'{theirs}.attn.proj.{{p}}'),
        Rule(f'{published}.norm2.{{p}}', f'{theirs}.ln2.{{p}}'),
        Rule(f'{published}.mlp.fc1.{{p}}', f'{theirs}.ffn.layers.0.0.{{p}}'),
        Rule(f'{published}.mlp.fc2.{{p}}', f'{theirs}.ffn.layers.1.{{p}}'),
    )


_TRUNK = (
    *same(('cls_token', 'pos_embed'), 'backbone.'),
    Rule('patch_embed.proj.{p}', 'backbone.patch_embed.projection.{p}'),
    *mm_blocks('blocks.{i}', 'backbone.layers.{i}'),
)
_NORM = Rule('norm.{p}', 'backbone.ln1.{p}')
_NECK = (
    *same(
        ('mask_token', 'decoder_pos_embed', 'decoder_embed.{p}', 'decoder_pred.{p}'), 'neck.'
    ),
    *mm_blocks('decoder_blocks.{i}', 'neck.decoder_blocks.{i}'),
    Rule('decoder_norm.{p}', 'neck.ln1.{p}'),
)


def _below_backbone(state: State) -> State:
    """A backbone saved alone, as a part of its model."""
    if not any(name.startswith('layers.') for name in state):
        return state
    return {f'backbone.{name}': tensor for name, tensor in state.items()}


MMPRETRAIN = Layout(
    name='mmpretrain',
    title='mmpretrain (MAE, VisionTransformer, DistilledVisionTransformer)',
    tables={
        Family.MAE: (*_TRUNK, _NORM, *_NECK),
        Family.CLASSIFIER: (*_TRUNK, _NORM, Rule('head.{p}', 'head.layers.head.{p}')),
        Family.POOLED: (*_TRUNK, Rule('fc_norm.{p}', 'backbone.ln2.{p}'), *ONE_HEAD),
        Family.DISTILLED: (
            *_TRUNK, _NORM, Rule('dist_token', 'backbone.dist_token'), *TWO_HEADS
        ),
    },
    cannot_hold=('encoderfeature_pred.*', 'decoderfeature_pred.*'),
    not_weights=('data_preprocessor.*', 'target_generator.*'),
    wrapper='state_dict',
    tidy=_below_backbone,
    arrange=dist_second,
    undo=dist_last,
)


_BLOCK, _LAYER = 'backbone.blocks.{i}', 'backbone.layers.{i}'

MMSEG = Layout(
    name='mmseg',
    title='mmseg EncoderDecoder with its MAE backbone',
    tables={
        Family.SEGMENTOR: (
            *same(('backbone.cls_token', 'backbone.pos_embed')),
            Rule('backbone.patch_embed.proj.{p}', 'backbone.patch_embed.projection.{p}'),
            *mm_blocks(_BLOCK, _LAYER),
            # read only: BEiT has no bias of keys, and the other two apart
            Rule(
                f'{_BLOCK}.attn.qkv.bias',
                (f'{_LAYER}.attn.q_bias', None, f'{_LAYER}.attn.v_bias'),
            ),
            Rule(f'{_BLOCK}.gamma_{{j}}', f'{_LAYER}.gamma_{{j}}'),
            Rule(
                f'{_BLOCK}.attn.relative_position_bias_table',
                f'{_LAYER}.attn.relative_position_bias_table',
            ),
            *PYRAMID,
            *same(SEGMENTOR_HEADS),
        )
    },
    not_weights=('data_preprocessor.*', '*.relative_position_index'),
    wrapper='state_dict',
)
