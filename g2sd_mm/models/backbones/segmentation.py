"""``G2SDViTSeg``: the ViT as an mmseg backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor

from ..positions import Grid
from ..table_attention import TableAttention, resize_relative_table, stored_table_grid
from .base import Backbone

_SHARED_TABLE = 'rel_pos_bias.relative_position_bias_table'
_OWN_TABLE = '.attn.relative_position_bias_table'


@MODELS.register_module()
class G2SDViTSeg(Backbone):
    """Plain ViT with relative positions for semantic segmentation (BEiT's layout).

    Every block has its own table of relative-position biases and per-channel gains, which start at
    1.0. There is no final norm: the outputs are the raw residual stream after some blocks. mmseg's
    ``Feature2Pyramid`` makes the four scales of them.

    Args:
        arch, patch_size, drop_path_rate, with_cp, in_channels, frozen_stages: see
            :class:`~g2sd_mm.models.vit.VisionTransformer`.
        img_size: side of the training crops, or their height and width, for which absolute and
            relative positions are laid out. Any other size that is a multiple of the patch works
            too: both are resized.
        out_indices: blocks, counted from 0, whose outputs are given.

    Raises:
        ValueError: if a block in ``out_indices`` does not exist.
    """

    # what pre-training does not have, and what it or a classifier has in excess
    may_miss = ('blocks.*.gamma_?', f'blocks.*{_OWN_TABLE}')
    may_ignore = ('norm.*', 'fc_norm.*', 'dist_token')

    def __init__(
        self,
        arch: str | Mapping = 'small',
        img_size: int | Sequence[int] = 512,
        patch_size: int | None = None,
        drop_path_rate: float = 0.0,
        out_indices: Sequence[int] = (3, 5, 7, 11),
        **vit: Any,
    ) -> None:
        super().__init__(
            arch,
            img_size,
            patch_size,
            drop_path_rate,
            layer_scale=1.0,
            # called while blocks are built, after grid_size is set
            attention=lambda _, dim, heads: TableAttention(dim, heads, self.grid_size),
            **vit,
        )
        if not out_indices or not all(0 <= i < self.depth for i in out_indices):
            raise ValueError(
                f'out_indices={tuple(out_indices)} must be blocks 0..{self.depth - 1} of the '
                f'{self.depth} that arch={arch!r} has'
            )
        self.out_indices = tuple(out_indices)
        # blocks after the last output are never run: without a gradient DDP would wait for them
        self.blocks[max(out_indices) + 1 :].requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """[B, C, height, width] -> one map [B, D, rows, columns] per entry of ``out_indices``."""
        x, grid = self.embed(images)
        outputs = {}
        for i, block in enumerate(self.blocks[: max(self.out_indices) + 1]):
            x = self.run(block, x, grid)
            if i in self.out_indices:
                outputs[i] = x[:, 1:].transpose(1, 2).unflatten(2, grid)
        return tuple(outputs[i] for i in self.out_indices)

    def fit_state(
        self, state: Mapping[str, Tensor], grid: Grid | None = None
    ) -> dict[str, Tensor]:
        """An encoder's state as this backbone needs it.

        Absolute positions and relative tables are resized to the patch grid, a table that all
        blocks share is given to each, 14-pixel patch kernels are resized to 16 pixels, and stored
        relative-position indices are left out (they are computed).
        """
        state = super().fit_state(state, grid)
        shared = state.pop(_SHARED_TABLE, None)
        if shared is not None:
            for i in range(self.depth):
                state[f'blocks.{i}{_OWN_TABLE}'] = shared.clone()
        fitted = {}
        for name, tensor in state.items():
            if name.endswith('relative_position_index'):
                continue
            if name.endswith(_OWN_TABLE):
                old = stored_table_grid(len(tensor), self.grid_size, grid)
                tensor = resize_relative_table(tensor, old, self.grid_size)
            elif name == 'patch_embed.proj.weight':
                tensor = self._fit_patches(tensor)
            fitted[name] = tensor
        return fitted

    def _fit_patches(self, kernel: Tensor) -> Tensor:
        """Patch kernels [D, C, 14, 14] as [D, C, 16, 16]; any other as it is."""
        size = self.patch_embed.patch_size
        if size == 16 and kernel.shape[-2:] == (14, 14):
            return F.interpolate(kernel, size=(16, 16), mode='bicubic', align_corners=False)
        return kernel
