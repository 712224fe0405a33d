"""A two-stage detector of mmdet as one function of tensors: what a file computes without mmdet.

mmdet finds out in Python how many proposals, boxes and masks an image has. Here the proposals are
always as many as there may be, those that are missing have no score, and only what the last NMS
keeps is counted; so that the whole is a graph of plain operators, NMS and RoIAlign of torchvision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import nms, roi_align

from ..errors import UserError

#: Of a proposal that there is not; mmdet's scores are probabilities.
_NO_SCORE = -1.0
_NONE = -1  # instead of the number of a box


class Detector(nn.Module):
    """Boxes, scores, labels and masks of one image, as the detector's ``predict`` finds them.

    Args:
        model: mmdet's Faster R-CNN or Mask R-CNN.
        raw: leave the last selection (least score, NMS) and the masks to the caller.

    Raises:
        UserError: for a detector that predicts in another way; the message names the part.
    """

    def __init__(self, model: Any, raw: bool = False) -> None:
        super().__init__()
        _check(model)
        self.backbone, self.neck = model.backbone, getattr(model, 'neck', None)
        self.rpn_head, roi_head = model.rpn_head, model.roi_head
        self.box_regions, self.bbox_head = roi_head.bbox_roi_extractor, roi_head.bbox_head
        self.mask_regions: Any = None
        self.mask_head: Any = None
        if roi_head.with_mask and not raw:
            self.mask_regions, self.mask_head = roi_head.mask_roi_extractor, roi_head.mask_head
        self.raw, self.least_score = raw, float(roi_head.test_cfg.score_thr)
        self._rpn_cfg, self._cfg = dict(self.rpn_head.test_cfg), dict(roi_head.test_cfg)

    @property
    def output_names(self) -> list[str]:
        """Of what :meth:`forward` returns, in order."""
        if self.raw:
            return ['boxes', 'scores']
        return ['boxes', 'scores', 'labels', *(['masks'] if self.mask_head is not None else [])]

    def defaults(self, height: int, width: int) -> dict[str, Tensor]:
        """The inputs beside the images, with the values that they have if nobody gives them."""
        size = {'size': torch.tensor([height, width], dtype=torch.float32)}
        least = {'threshold': torch.tensor([self.least_score])}
        return size if self.raw else {**size, **least}

    def forward(
        self, images: Tensor, size: Tensor, threshold: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Detect in one image.

        Args:
            images: normalised, float32 [1, C, height, width]; what the image does not fill is 0.
            size: float32 [2], height and width of the image in it, from the left upper corner.
            threshold: float32 [1], score that a box has to exceed.

        Returns:
            ``boxes`` [n, 4] (left, top, right, bottom in pixels of ``images``), ``scores`` [n],
            falling, ``labels`` int64 [n], and of a detector with masks ``masks`` [n, h, w]:
            probabilities on a grid over the box. If raw, ``boxes`` [proposals, classes, 4] and
            ``scores`` [proposals, classes].
        """
        maps = self.backbone(images)
        maps = tuple(maps if self.neck is None else self.neck(maps))
        regions, present = self._proposals(maps, size)
        logits, deltas = self.bbox_head(self._pool(self.box_regions, maps, regions))
        scores = logits.softmax(dim=-1)[:, :-1]
        scores = torch.where(present[:, None], scores, 0.0 if self.raw else _NO_SCORE)
        coder, classes = self.bbox_head.bbox_coder, self.bbox_head.num_classes
        own = 1 if self.bbox_head.reg_class_agnostic else classes
        boxes = _decode(coder, regions.repeat_interleave(own, dim=0), deltas.view(-1, 4), size)
        boxes = boxes.view(-1, own, 4).expand(-1, classes, 4)
        if self.raw:
            return boxes, scores
        assert threshold is not None
        found = self._select(boxes, scores, threshold)
        if self.mask_head is None:
            return found
        boxes, _, labels = found
        masks = self.mask_head(self._pool(self.mask_regions, maps, boxes)).sigmoid()
        which = labels * 0 if self.mask_head.class_agnostic else labels
        which = which[:, None, None, None].expand(-1, 1, *masks.shape[2:])
        return (*found, masks.gather(1, which)[:, 0])

    def _proposals(self, maps: Sequence[Tensor], size: Tensor) -> tuple[Tensor, Tensor]:
        """As ``RPNHead`` predicts: boxes [P, 4], and which of them there are [P]."""
        head, cfg = self.rpn_head, self._rpn_cfg
        levels = list(zip(*head(maps), strict=True))
        priors = head.prior_generator.grid_priors(
            [logits.shape[-2:] for logits, _ in levels], device=maps[0].device
        )
        found: list[tuple[Tensor, ...]] = []
        for level, ((logits, deltas), prior) in enumerate(zip(levels, priors, strict=True)):
            score = logits[0].permute(1, 2, 0).reshape(-1).sigmoid()
            delta = deltas[0].permute(1, 2, 0).reshape(-1, 4)
            if 0 < cfg.get('nms_pre', -1) < len(score):
                score, best = score.topk(cfg['nms_pre'])
                delta, prior = delta[best], prior[best]
            found.append((score, delta, prior, torch.full_like(score, level)))
        scores, deltas, prior, groups = (torch.cat(part) for part in zip(*found, strict=True))
        boxes = _decode(head.bbox_coder, prior, deltas, size)
        if (least := cfg.get('min_bbox_size', -1)) >= 0:
            sides = boxes[:, 2:] - boxes[:, :2]
            large = (sides > least).all(dim=1)
            scores = torch.where(large, scores, _NO_SCORE)
            boxes = torch.where(large[:, None], boxes, 0.0)  # without area: it suppresses nothing
        number = min(cfg['max_per_img'], len(scores))
        kept = _first(_nms(boxes, scores, groups, cfg['nms']), number)
        none = kept == _NONE
        kept = kept.masked_fill(none, 0)
        return boxes[kept].masked_fill(none[:, None], 0), (scores[kept] >= 0) & ~none

    def _pool(self, extractor: Any, maps: Sequence[Tensor], boxes: Tensor) -> Tensor:
        """As ``SingleRoIExtractor``: features [n, C, h, w], each of the map for its region's size.

        On the other maps a region is nothing at its corner, which costs next to nothing.
        """
        regions = F.pad(boxes, (1, 0))  # of the first image
        level_of = extractor.map_roi_levels(regions, extractor.num_inputs)
        pooled: Any = 0
        for level, layer in enumerate(extractor.roi_layers):
            here = (level_of == level)[:, None]
            part = roi_align(
                maps[level], torch.where(here, regions, 0.0), layer.output_size,
                layer.spatial_scale, layer.sampling_ratio, layer.aligned,
            )  # fmt: skip
            pooled = pooled + torch.where(here[..., None, None], part, 0.0)
        return pooled

    def _select(
        self, boxes: Tensor, scores: Tensor, threshold: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As ``multiclass_nms``: boxes [n, 4], scores [n], falling, and labels [n]."""
        classes = torch.arange(scores.shape[1], device=scores.device).expand_as(scores)
        boxes, scores, labels = boxes.reshape(-1, 4), scores.reshape(-1), classes.reshape(-1)
        chosen = (scores > threshold).nonzero()[:, 0]
        boxes, scores, labels = boxes[chosen], scores[chosen], labels[chosen]
        kept = _nms(boxes, scores, labels, self._cfg['nms'])
        if self._cfg['max_per_img'] > 0:
            kept = _first(kept, self._cfg['max_per_img'])
            kept = kept[(kept != _NONE).nonzero()[:, 0]]
        return boxes[kept], scores[kept], labels[kept]


def _decode(coder: Any, boxes: Tensor, deltas: Tensor, size: Tensor) -> Tensor:
    """Boxes [n, 4] moved by ``deltas`` [n, 4], within an image of ``size``."""
    boxes = coder.decode(boxes, deltas)
    if not coder.clip_border:
        return boxes
    return torch.minimum(boxes.clamp(min=0), size.flip(0).repeat(2))


def _nms(boxes: Tensor, scores: Tensor, groups: Tensor, cfg: Mapping[str, Any]) -> Tensor:
    """As mmcv's ``batched_nms``: indices of the kept boxes, best first; groups lie far apart."""
    if not cfg.get('class_agnostic'):
        most = torch.cat([boxes, boxes.new_zeros(1, 4)]).max()  # there may be no boxes
        boxes = boxes + (groups.to(boxes.dtype) * (most + 1))[:, None]
    return nms(boxes, scores, float(cfg['iou_threshold']))


def _first(kept: Tensor, number: int) -> Tensor:
    """The first of ``kept`` [n], filled up to ``number`` with ``_NONE``: a size that is known."""
    return torch.cat([kept, kept.new_full((number,), _NONE)]).narrow(0, 0, number)


def _check(model: Any) -> None:
    """The parts that this module stands for have to be mmdet's own, whatever class they are of."""
    from mmdet.models.dense_heads import RPNHead
    from mmdet.models.detectors import TwoStageDetector
    from mmdet.models.roi_heads import StandardRoIHead
    from mmdet.models.roi_heads.bbox_heads import BBoxHead
    from mmdet.models.roi_heads.mask_heads import FCNMaskHead
    from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
    from mmdet.models.task_modules import AnchorGenerator, DeltaXYWHBBoxCoder

    head: Any = getattr(model, 'roi_head', None)
    rpn: Any = getattr(model, 'rpn_head', None)
    box: Any = getattr(head, 'bbox_head', None)
    mask: Any = getattr(head, 'mask_head', None)
    parts: list[tuple[Any, Any, Sequence[str]]] = [
        (model, TwoStageDetector, ('predict', 'extract_feat')),
        (head, StandardRoIHead, (
            'predict', 'predict_bbox', 'predict_mask', '_bbox_forward', '_mask_forward')),
        (rpn, RPNHead, ('predict_by_feat', '_predict_by_feat_single', '_bbox_post_process')),
        (getattr(rpn, 'prior_generator', None), AnchorGenerator, ('grid_priors',)),
        (box, BBoxHead, ('predict_by_feat', '_predict_by_feat_single')),
    ]  # fmt: skip
    parts += [(getattr(part, 'bbox_coder', None), DeltaXYWHBBoxCoder, ('decode',))
              for part in (rpn, box)]  # fmt: skip
    extractors: list[Any] = [getattr(head, 'bbox_roi_extractor', None)]
    if mask is not None:
        parts += [(mask, FCNMaskHead, ('predict_by_feat', '_predict_by_feat_single'))]
        extractors += [head.mask_roi_extractor]
    parts += [(part, SingleRoIExtractor, ('map_roi_levels',)) for part in extractors]
    for part, stock, methods in parts:
        if not isinstance(part, stock) or any(
            getattr(type(part), name) is not getattr(stock, name) for name in methods
        ):
            raise _refusal(model, f'{type(part).__name__} is not a {stock.__name__}')
    if not rpn.use_sigmoid_cls or box.custom_cls_channels or not box.with_reg:
        raise _refusal(model, 'its RPN has no sigmoid, or its box head no softmax or no deltas')
    if head.with_shared_head:
        raise _refusal(model, 'its RoI head has a shared head')
    for cfg in (rpn.test_cfg, head.test_cfg):
        odd = set(cfg['nms']) - {'type', 'iou_threshold', 'class_agnostic', 'split_thr'}
        if cfg['nms'].get('type', 'nms') != 'nms' or odd:
            raise _refusal(model, f'test_cfg.nms is {dict(cfg["nms"])}')
    layers = [layer for extractor in extractors for layer in extractor.roi_layers]
    if any(type(layer).__name__ != 'RoIAlign' or layer.pool_mode != 'avg' for layer in layers):
        raise _refusal(model, 'regions are pooled by another layer than RoIAlign')


def _refusal(model: Any, reason: str) -> UserError:
    return UserError(
        f'a whole {type(model).__name__} cannot be exported, but Faster R-CNN and Mask R-CNN as '
        f'mmdet has them ({reason}): give --part pyramid, and run the heads with mmdet'
    )
