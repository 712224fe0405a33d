"""A student as a function of one tensor: what can be called, exported and timed without a library.

Each takes normalised RGB images [B, 3, height, width] and gives tensors.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
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


class _Features(nn.Module):
    """Backbone and neck, if any."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.backbone, self.neck = model.backbone, getattr(model, 'neck', None)

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.backbone(images)
        return tuple(features if self.neck is None else self.neck(features))


class Pyramid(_Features):
    """Of a detector, maps [B, C, h, w], fine to coarse."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """One tensor a level."""
        return self.features(images)


class Classifier(_Features):
    """With the head: logits [B, classes], both heads of a two-token student averaged."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.head = model.head

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, classes]."""
        return self.head(self.features(images))


class Segmentor(_Features):
    """With the decode head: logits [B, classes, height, width] at the images' size."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.decode_head = model.decode_head

    def forward(self, images: Tensor) -> Tensor:
        """Logits, resized as mmseg does to predict."""
        logits = self.decode_head(self.features(images))
        corners = self.decode_head.align_corners
        return F.interpolate(logits, images.shape[2:], mode='bilinear', align_corners=corners)


#: The whole of a task's network, as far as it is a function of one tensor.
WHOLE = {'classification': Classifier, 'detection': Pyramid, 'segmentation': Segmentor}
