"""What the networks of all tasks share as functions of one tensor.

Such a network can be called, exported and timed without its library. It takes normalised RGB images
[B, 3, height, width] and gives tensors; each task's file has its own.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Backbone(nn.Module):
    """The ViT alone.

    Classifier: the pooled feature [B, D], or class and dist token, [B, D] each. Detector: one map
    [B, D, h, w]. Segmentor: one map [B, D, h, w] for each of ``out_indices``.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.backbone = model.backbone

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Features, see the class."""
        features = self.backbone(images)
        while isinstance(features, (tuple, list)) and len(features) == 1:
            (features,) = features
        return features


class Features(nn.Module):
    """Backbone and neck, if any."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.backbone, self.neck = model.backbone, getattr(model, 'neck', None)

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.backbone(images)
        return tuple(features if self.neck is None else self.neck(features))
