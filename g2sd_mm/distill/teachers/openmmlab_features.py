"""Backbones of mmpretrain, mmdet and mmseg as teachers of features."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor

from ...errors import UserError
from ...models.backbones import G2SDViT
from .encoder import tokens_features
from .features import FeatureTeacher
from .openmmlab import OpenMMLabTeacher
from .protocol import Features

_PLACE = 'distillation.teacher'


@MODELS.register_module()
class OpenMMLabFeatureTeacher(FeatureTeacher):
    """The backbone of a config of mmpretrain, mmdet or mmseg, with its checkpoint.

    A network that can give its raw tokens (a vision transformer of mmpretrain) answers with class
    token and patches, any other with its last feature map. Images are normalised as the config's
    ``data_preprocessor`` says.

    Args:
        config, checkpoint, random_weights, overrides: as of
            :class:`~g2sd_mm.distill.teachers.openmmlab.OpenMMLabTeacher`; ``overrides`` such as
            ``{'model.backbone.out_indices': [8]}`` take another block.
        licence: of its weights.
        options: ``cls``, ``size``, ``compile`` and ``dtype`` of
            :class:`~g2sd_mm.distill.teachers.features.FeatureTeacher`.

    Raises:
        UserError: if the config says nothing of normalisation, or the backbone gives no map.
        CheckpointError: as of an ``OpenMMLabTeacher``.
    """

    def __init__(
        self,
        config: str | dict,
        checkpoint: str | None = None,
        random_weights: bool = False,
        overrides: dict | None = None,
        licence: str | None = None,
        **options: Any,
    ) -> None:
        task = OpenMMLabTeacher(
            config, checkpoint, forward=('backbone',), random_weights=random_weights,
            overrides=overrides,
        )  # fmt: skip
        network: Any = task.model
        self._backbone: Any = network.backbone
        pixels = task.pixels
        if pixels is None:
            raise UserError(
                f'{_PLACE}.config says nothing of how its images are normalised: give its '
                'data_preprocessor a mean and a std'
            )
        stride, width = self._measured(len(pixels.mean), task.dtype)
        super().__init__(
            network,
            pixels=pixels,
            stride=stride,
            width=width,
            name=config if isinstance(config, str) else type(self._backbone).__name__,
            source=checkpoint,
            licence=licence,
            **options,
        )

    def features(self, images: Tensor) -> Features:
        """Class token and patches, or the last feature map."""
        if isinstance(self._backbone, G2SDViT):  # tokens behind its norm, where it has one
            normed = getattr(self._backbone, 'norm', None) is not None
            return tokens_features(self._backbone, images, normed=normed)
        answer = self._backbone(images)
        last = answer[-1] if isinstance(answer, (tuple, list)) else answer
        if isinstance(last, Tensor) and last.ndim == 4:
            return Features(None, last.movedim(1, -1))
        if getattr(self._backbone, 'out_type', '') != 'raw':
            raise UserError(
                f'{_PLACE}: {type(self._backbone).__name__} gives no feature map; change that with '
                f'{_PLACE}.overrides'
            )
        rows, columns = (side // self.stride for side in images.shape[-2:])
        patches = last[:, -rows * columns :].unflatten(1, (rows, columns))
        return Features(last[:, 0], patches)

    def _measured(self, channels: int, dtype: torch.dtype) -> tuple[int, int]:
        """Stride [pixels] and width of what the backbone gives, of an image of its own size.

        A vision transformer of mmpretrain gives raw tokens from then on, if it has a class token.
        """
        backbone = self._backbone
        size = getattr(backbone, 'img_size', None) or 224
        height, width = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        gives_tokens = 'raw' in getattr(backbone, 'OUT_TYPES', ())
        if gives_tokens:
            backbone.out_type = 'featmap'
        with torch.no_grad():
            answer = self.features(torch.zeros(1, channels, height, width, dtype=dtype))
        if gives_tokens and getattr(backbone, 'cls_token', None) is not None:
            backbone.out_type = 'raw'
        return height // answer.patches.shape[1], answer.patches.shape[-1]
