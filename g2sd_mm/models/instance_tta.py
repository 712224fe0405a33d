"""Test-time augmentation of instance segmentation, which mmdet has for boxes only."""

from __future__ import annotations

import torch
from mmcv.ops import batched_nms
from mmdet.models.test_time_augs import DetTTAModel
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_flip
from mmengine.structures import InstanceData

_AXES = {'horizontal': (-1,), 'vertical': (-2,), 'diagonal': (-1, -2)}


@MODELS.register_module()
class InstanceTTAModel(DetTTAModel):
    """Pools the detections of all views and lets NMS choose; a chosen box brings its own mask."""

    def _merge_single_sample(self, data_samples: list[DetDataSample]) -> DetDataSample:
        views = [_unflipped(sample) for sample in data_samples]
        pooled = InstanceData.cat([view for view in views if len(view)] or views[:1])
        if len(pooled):
            _, keep = batched_nms(pooled.bboxes, pooled.scores, pooled.labels, self.tta_cfg.nms)
            pooled = pooled[keep[: self.tta_cfg.max_per_img]]
        merged = data_samples[0]
        merged.pred_instances = pooled
        return merged


def _unflipped(sample: DetDataSample) -> InstanceData:
    """Predictions of one view, in the coordinates of the image as it was read."""
    instances = sample.pred_instances
    if not sample.metainfo.get('flip'):
        return instances
    direction = sample.flip_direction
    turned = InstanceData(
        bboxes=bbox_flip(instances.bboxes, sample.ori_shape, direction),
        scores=instances.scores,
        labels=instances.labels,
    )
    if 'masks' in instances:
        turned.masks = torch.flip(instances.masks, _AXES[direction])
    return turned
