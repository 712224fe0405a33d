"""``G2SDViT``: the ViT as an mmpretrain backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

from ..masking import random_masking
from ..vit import NORM_EPS, Attention, Block
from .base import Backbone

#: Kind of output -> the tokens behind the last block that it is made of; none: all of them.
_READ: dict[str, list[int]] = {'cls_token': [0], 'avg_featmap': [], 'dist_token': [0, -1]}

#: Where a module keeps its hooks.
_HOOKS = (
    '_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks',
)  # fmt: skip


@MODELS.register_module()
class G2SDViT(Backbone):
    """Plain ViT for classification.

    Args:
        arch, img_size, patch_size, drop_path_rate, with_cp, in_channels, frozen_stages: see
            :class:`~g2sd_mm.models.vit.VisionTransformer`.
        out_type: what the head is given.

            - ``cls_token``: class token after the final norm, for ``LinearClsHead``.
            - ``avg_featmap``: mean of the patch tokens, then ``fc_norm`` (MAE's fine-tuning; the
              teacher and the plain twin of G2SD).
            - ``dist_token``: class and distillation tokens after the final norm, for a two-token
              head. The distillation token is appended *last* and *after* the position embedding
              was added; DeiT's stands second and has a position.
        visible_share: share of the patches that are looked at, drawn anew for every image, in
            evaluation too: for a teacher that may see less to cost less.
        init_std: deviation of random weights; 0.02 suits widths of hundreds, a width of 64 learns
            faster from 0.1.

    Attributes:
        skips_unread: in evaluation, the last block computes only the tokens that the head is given,
            unless a hook hears it: the same features for less. Set of networks that only predict.

    Input sizes other than ``img_size`` are taken too: positions are resized bicubically.
    """

    skips_unread = False

    def __init__(
        self,
        arch: str | Mapping = 'small',
        img_size: int | Sequence[int] = 224,
        patch_size: int | None = None,
        drop_path_rate: float = 0.0,
        out_type: str = 'avg_featmap',
        visible_share: float = 1.0,
        init_std: float = 0.02,
        init_cfg: dict | None = None,
        **vit: Any,
    ) -> None:
        if out_type not in _READ:
            raise ValueError(f'out_type {out_type!r} is none of {", ".join(_READ)}')
        if not 0 < visible_share <= 1:
            raise ValueError(f'visible_share={visible_share} is not above 0 and at most 1')
        super().__init__(arch, img_size, patch_size, drop_path_rate, init_cfg=init_cfg, **vit)
        self.out_type, self.init_std = out_type, init_std
        self.visible_share = visible_share
        norm = nn.LayerNorm(self.embed_dim, eps=NORM_EPS)
        if out_type == 'avg_featmap':
            self.fc_norm = norm  # normalises the pooled feature: pre-training has no such weights
            self.may_miss, self.may_ignore = ('fc_norm.*',), ('norm.*', 'dist_token')
        else:
            self.norm = norm
            self.may_ignore = ('fc_norm.*', 'dist_token')
        if out_type == 'dist_token':
            self.dist_token = nn.Parameter(torch.zeros(1, 1, self.embed_dim))
            self.may_miss, self.may_ignore = ('dist_token',), ('fc_norm.*',)
        self.train()  # freezes the norm, which is there now

    def forward(
        self, images: Tensor, keep: Tensor | None = None
    ) -> tuple[Tensor | tuple[Tensor, Tensor]]:
        """[B, C, height, width] -> one entry: [B, D], or (class, dist) with [B, D] each.

        ``keep``, int64 [B, n], has the raster numbers of the patches that are looked at.
        """
        if keep is None and self.visible_share < 1:
            keep = self._some(images)
        x, _ = self.embed(images, keep)
        if self.out_type == 'dist_token':
            x = torch.cat([x, self.dist_token.to(x.dtype).expand(x.shape[0], -1, -1)], dim=1)
        for block in self.blocks[:-1]:
            x = self.run(block, x)
        last, read = self.blocks[-1], _READ[self.out_type]
        alone = read and self._unheard(last)
        x = cast(Block, last).of_tokens(x, read) if alone else self.run(last, x)
        if not read:
            return (self.fc_norm(x[:, 1:].mean(dim=1)),)
        x = self.norm(x)
        return ((x[:, 0], x[:, -1]),) if self.out_type == 'dist_token' else (x[:, 0],)

    def _unheard(self, block: nn.Module) -> bool:
        """Whether only the head sees what this block, the last one, makes of its tokens."""
        if self.training or not self.skips_unread or type(block) is not Block:
            return False
        if type(block.attn) is not Attention or type(block.attn.qkv) is not nn.Linear:
            return False
        if torch_modules._has_any_global_hook():
            return False
        return not any(map(_is_heard, (*block.modules(), self.norm)))

    def _some(self, images: Tensor) -> Tensor:
        """A random share of the patches: int64 [B, n]."""
        grid = self.patch_embed.grid(images)
        noise = torch.rand(len(images), grid[0] * grid[1], device=images.device)
        return random_masking(noise, 1 - self.visible_share).keep


def _is_heard(module: nn.Module) -> bool:
    """Whether somebody has put a hook on a module, or a method of their own in its place."""
    replaced = any(name in module.__dict__ for name in ('forward', 'attend'))
    return replaced or any(getattr(module, name) for name in _HOOKS)
