"""Boxes in float32, whatever precision the features have.

bfloat16 has eight significant bits: rounding moves a coordinate near 1,024 px by up to 2 px. mmdet
casts anchors and regions of interest to the type of the features; these two modules do not.
Float64 models stay in float64.
"""

from __future__ import annotations

from mmdet.models.dense_heads import RPNHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.registry import MODELS
from torch import Tensor

from ..precision import full


@MODELS.register_module()
class Float32RPNHead(RPNHead):
    """mmdet's ``RPNHead`` with predictions, and so anchors, losses and proposals, in float32."""

    def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, h, w] -> objectness logits [B, anchors, h, w] and deltas [B, 4 anchors, h, w]."""
        logits, deltas = super().forward_single(x)
        return full(logits), full(deltas)


@MODELS.register_module()
class Float32RoIExtractor(SingleRoIExtractor):
    """mmdet's ``SingleRoIExtractor`` with regions, and their pooling, in float32."""

    def forward(
        self, feats: tuple[Tensor, ...], rois: Tensor, roi_scale_factor: float | None = None
    ) -> Tensor:
        """Levels [B, C, h, w] and regions [n, 5] -> [n, C, size, size] of the levels' type."""
        pooled = super().forward(tuple(full(level) for level in feats), rois, roi_scale_factor)
        return pooled.to(feats[0].dtype)
