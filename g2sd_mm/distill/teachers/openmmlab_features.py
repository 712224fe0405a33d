"""Backbones of mmpretrain, mmdet and mmseg as teachers of features."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor

from ...errors import UserError
from ...models.backbones import G2SDViT
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
        backbone = self._backbone
        if isinstance(backbone, G2SDViT):
            return _of_ours(backbone, images)
        if getattr(backbone, 'cls_token', None) is None or not _gives_tokens(backbone):
            return _of_map(backbone, images)
        with _out_type(backbone, 'raw'):
            tokens = _last(backbone(images))
        rows, columns = (side // self.stride for side in images.shape[-2:])
        prefix = tokens.shape[1] - rows * columns
        return Features(tokens[:, 0], tokens[:, prefix:].unflatten(1, (rows, columns)))

    def _measured(self, channels: int, dtype: torch.dtype) -> tuple[int, int]:
        """Stride [pixels] and width of what the backbone gives, of an image of its own size."""
        backbone = self._backbone
        size = getattr(backbone, 'img_size', None) or 224
        height, width = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        with torch.no_grad():
            images = torch.zeros(1, channels, height, width, dtype=dtype)
            ours = isinstance(backbone, G2SDViT)
            answer = _of_ours(backbone, images) if ours else _of_map(backbone, images)
        return height // answer.patches.shape[1], answer.patches.shape[-1]


def _of_ours(backbone: G2SDViT, images: Tensor) -> Features:
    """Tokens behind the last block, and behind the final norm where the network has one."""
    tokens, grid = backbone.embed(images)
    if backbone.out_type == 'dist_token':
        distilled = backbone.dist_token.to(tokens.dtype).expand(len(tokens), -1, -1)
        tokens = torch.cat([tokens, distilled], dim=1)
    for block in backbone.blocks:
        tokens = block(tokens)
    norm = getattr(backbone, 'norm', None)
    tokens = tokens if norm is None else norm(tokens)
    places = grid[0] * grid[1]
    return Features(tokens[:, 0], tokens[:, 1 : 1 + places].unflatten(1, grid))


def _of_map(backbone: Any, images: Tensor) -> Features:
    with _out_type(backbone, 'featmap'):
        last = _last(backbone(images))
    if not isinstance(last, Tensor) or last.ndim != 4:
        raise UserError(
            f'{_PLACE}: {type(backbone).__name__} gives no feature map; change that with '
            f'{_PLACE}.overrides'
        )
    return Features(None, last.movedim(1, -1))


def _last(answer: Any) -> Any:
    return answer[-1] if isinstance(answer, (tuple, list)) else answer


def _gives_tokens(backbone: Any) -> bool:
    return 'raw' in getattr(backbone, 'OUT_TYPES', ())


@contextmanager
def _out_type(backbone: Any, kind: str) -> Iterator[None]:
    """What a vision transformer of mmpretrain gives, for one pass."""
    if not _gives_tokens(backbone):
        yield
        return
    before, backbone.out_type = backbone.out_type, kind
    try:
        yield
    finally:
        backbone.out_type = before
