"""``G2SDViTDet``: the ViT as an mmdet backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.registry import MODELS
from torch import Tensor

from ..decomposed_attention import DecomposedAttention, resize_table
from ..positions import Grid, patch_grid, plain_size
from ..sizes import EncoderSize, encoder_size
from .base import Backbone


@MODELS.register_module()
class G2SDViTDet(Backbone):
    """Plain ViT for detection (ViTDet, Li et al. 2022): windows in most blocks, one map comes out.

    No class token runs through the blocks and no norm follows them. ``pos_embed`` keeps the
    pre-training grid and its class row, which is not used, so that checkpoints fit; it is resized
    bicubically to the image at hand.

    Args:
        arch, patch_size, drop_path_rate, with_cp, in_channels, frozen_stages: see
            :class:`~g2sd_mm.models.vit.VisionTransformer`.
        img_size: side in pixels of the images that the global blocks have relative positions for,
            or their height and width; images of other sizes (any multiple of the patch size) resize
            them linearly.
        pretrain_img_size: side in pixels of the pre-training images, or their height and width.
        window_size: side of the attention windows, in patches.
        global_blocks: numbers of the blocks that attend globally.
    """

    may_miss = ('blocks.*.attn.rel_pos_h', 'blocks.*.attn.rel_pos_w')
    may_ignore = ('cls_token', 'dist_token', 'norm.*', 'fc_norm.*')

    def __init__(
        self,
        arch: str | Mapping | EncoderSize = 'small',
        img_size: int | Sequence[int] = 1024,
        pretrain_img_size: int | Sequence[int] = 224,
        patch_size: int | None = None,
        drop_path_rate: float = 0.0,
        window_size: int = 14,
        global_blocks: Sequence[int] = (2, 5, 8, 11),
        **vit: Any,
    ) -> None:
        size = encoder_size(arch)
        patch_size = patch_size or size.patch_size
        if not all(0 <= block < size.depth for block in global_blocks):
            raise ValueError(
                f'global_blocks {tuple(global_blocks)} do not lie in the {size.depth} blocks of '
                f'arch {arch!r}'
            )
        grid = patch_grid(img_size, patch_size)

        def attention(block: int, dim: int, num_heads: int) -> DecomposedAttention:
            return DecomposedAttention(
                dim, num_heads, grid, window=0 if block in global_blocks else window_size
            )

        super().__init__(
            size, pretrain_img_size, patch_size, drop_path_rate, attention=attention, **vit
        )
        del self.cls_token  # would never get a gradient, which plain DDP does not forgive
        self.img_size = plain_size(img_size)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """[B, C, height, width] -> one map [B, D, height / patch, width / patch]."""
        grid = self.patch_embed.grid(images)
        x = self.patch_embed(images) + self.positions(grid)[:, 1:]
        for block in self.blocks:
            x = self.run(block, x, grid)
        return (x.transpose(1, 2).unflatten(2, grid),)

    def fit_state(
        self, state: Mapping[str, Tensor], grid: Grid | None = None
    ) -> dict[str, Tensor]:
        """Also resizes relative positions of a detector that saw other image sizes."""
        state = super().fit_state(state, grid)
        own = self.state_dict()
        for name, tensor in state.items():
            if name.endswith(('rel_pos_h', 'rel_pos_w')) and name in own:
                state[name] = resize_table(tensor, (len(own[name]) + 1) // 2)
        return state
