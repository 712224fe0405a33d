"""Layouts with the published names: MAE, the five kinds of G2SD files, detectron2, timm."""

from __future__ import annotations

from .published import (
    DECODER,
    DETECTOR_TRUNK,
    DISTILLED_ENCODER,
    ENCODER,
    POOLED_ENCODER,
    PREDICTORS,
    SEGMENTOR_HEADS,
    SEGMENTOR_PYRAMID,
    SEGMENTOR_TRUNK,
    Family,
    Layout,
    dist_last,
    dist_second,
)
from .rules import same

MAE = Layout(
    name='mae',
    title='facebookresearch/mae',
    tables={
        Family.MAE: same((*ENCODER, *DECODER)),
        Family.CLASSIFIER: same((*ENCODER, 'head.{p}')),
        Family.POOLED: same((*POOLED_ENCODER, 'head.{p}')),
    },
    cannot_hold=('encoderfeature_pred.*', 'decoderfeature_pred.*'),
    wrapper='model',
)
#: Names of detectron2's Mask R-CNN outside of the ViT.
DETECTOR_PARTS = (
    'backbone.simfp_{i}.{rest}',
    'proposal_generator.rpn_head.{rest}',
    'roi_heads.{rest}',
)
G2SD = Layout(
    name='g2sd',
    title='the published G2SD (stage-1 student, two classifiers, detector, segmentor)',
    tables={
        Family.MAE: same((*ENCODER, *DECODER, *PREDICTORS)),
        Family.CLASSIFIER: same((*ENCODER, 'head.{p}')),
        Family.POOLED: same((*POOLED_ENCODER, 'head.{p}')),
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
        Family.CLASSIFIER: same((*ENCODER, 'head.{p}')),
        Family.POOLED: same((*POOLED_ENCODER, 'head.{p}')),
        Family.DISTILLED: same((*DISTILLED_ENCODER, 'head.{p}', 'head_dist.{p}')),
    },
    cannot_hold=('mask_token', 'decoder_*', 'encoderfeature_pred.*', 'decoderfeature_pred.*'),
    arrange=dist_second,
    undo=dist_last,
)
