"""detectron2's ViTDet Mask R-CNN under mmdet's names."""

from __future__ import annotations

import re

from torch import Tensor

# Class order (background last), anchor order and box coding of the two libraries agree, so that
# renaming is all there is to do. First rule that fits; groups count convolutions from 1 or 0.
_RULES: tuple[tuple[str, str, int], ...] = (
    (r'backbone\.net\.', 'backbone.', 0),
    (r'backbone\.simfp_', 'neck.simfp_', 0),
    (r'proposal_generator\.rpn_head\.conv\.conv(\d+)\.', 'rpn_head.rpn_conv.{}.conv.', 0),
    (r'proposal_generator\.rpn_head\.objectness_logits\.', 'rpn_head.rpn_cls.', 0),
    (r'proposal_generator\.rpn_head\.anchor_deltas\.', 'rpn_head.rpn_reg.', 0),
    (r'roi_heads\.box_head\.conv(\d+)\.norm\.', 'roi_head.bbox_head.shared_convs.{}.ln.', 1),
    (r'roi_heads\.box_head\.conv(\d+)\.', 'roi_head.bbox_head.shared_convs.{}.conv.', 1),
    (r'roi_heads\.box_head\.fc(\d+)\.', 'roi_head.bbox_head.shared_fcs.{}.', 1),
    (r'roi_heads\.box_predictor\.cls_score\.', 'roi_head.bbox_head.fc_cls.', 0),
    (r'roi_heads\.box_predictor\.bbox_pred\.', 'roi_head.bbox_head.fc_reg.', 0),
    (r'roi_heads\.mask_head\.mask_fcn(\d+)\.norm\.', 'roi_head.mask_head.convs.{}.ln.', 1),
    (r'roi_heads\.mask_head\.mask_fcn(\d+)\.', 'roi_head.mask_head.convs.{}.conv.', 1),
    (r'roi_heads\.mask_head\.deconv\.', 'roi_head.mask_head.upsample.', 0),
    (r'roi_heads\.mask_head\.predictor\.', 'roi_head.mask_head.conv_logits.', 0),
)
# Not weights of the detector: constants that mmdet keeps elsewhere, and the distillation adapters.
_DROPPED = (
    'pixel_mean',
    'pixel_std',
    'proposal_generator.anchor_generator.',
    'stu_adapter.',
)


def mmdet_name(name: str) -> str:
    """mmdet's name of a detectron2 parameter; an unknown name stays, for the loader to report."""
    for pattern, place, first in _RULES:
        match = re.match(pattern, name)
        if match:
            number = [int(group) - first for group in match.groups()]
            return place.format(*number) + name[match.end() :]
    return name


def detectron2_detector(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A detectron2 ViTDet state dict as a state dict of mmdet's ``MaskRCNN`` with our parts."""
    return {
        mmdet_name(name): tensor for name, tensor in state.items() if not name.startswith(_DROPPED)
    }
