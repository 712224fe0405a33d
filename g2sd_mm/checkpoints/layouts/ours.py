"""Files of this project: bare autoencoders and encoders, task models under the mm names."""

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
)
from .rules import Rule, same

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
