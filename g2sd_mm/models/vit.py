"""The vision transformer that every network of this project is an arrangement of.

Read top to bottom: pixels become patch tokens, tokens attend to each other, blocks stack.
Parameter names are those of published checkpoints (``patch_embed.proj``, ``blocks.3.attn.qkv``).
Shapes: B images, N tokens, D channels, H heads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from timm.layers import DropPath, Mlp
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..errors import ConfigError
from .positions import (
    Grid,
    adapt_channels,
    patch_grid,
    plain_size,
    resize_positions,
    stored_grid,
)
from .sizes import EncoderSize, encoder_size

NORM_EPS = 1e-6  # of every published ViT and MAE checkpoint; torch's default is 1e-5
_SHORT = 256  # tokens whose map of logits stays in a CPU's caches
#: What embeds the image, and what normalises after the last block.
_EMBEDDING = ('patch_embed', 'pos_embed', 'cls_token')
_FINAL = ('norm', 'fc_norm')


class PatchEmbed(nn.Module):
    """Cut the image into patches and project each to a token."""

    def __init__(self, patch_size: int, embed_dim: int, in_channels: int = 3) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(in_channels, embed_dim, patch_size, patch_size)

    def grid(self, images: Tensor) -> Grid:
        """Patch rows and columns of ``images`` [B, C, height, width].

        Raises:
            ValueError: if a side is not a multiple of the patch size.
        """
        height, width = images.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f'image of {height}x{width} px does not divide into patches of '
                f'{self.patch_size} px: pad or resize to a multiple'
            )
        return height // self.patch_size, width // self.patch_size

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, height, width] -> tokens [B, N, D] in raster order."""
        self.grid(images)
        return self.proj(images).flatten(2).transpose(1, 2)

    def visible(self, images: Tensor, keep: Tensor) -> Tensor:
        """Embed only the patches in ``keep`` [B, n] (raster numbers), in that order: [B, n, D].

        Three quarters of a masked autoencoder's patches are never looked at; they are not
        projected either.
        """
        rows, columns = self.grid(images)
        p = self.patch_size
        # [B, 3, rows * p, columns * p] -> view [B, rows, columns, 3, p, p]; only `keep` is copied
        patches = images.reshape(len(images), -1, rows, p, columns, p).permute(0, 2, 4, 1, 3, 5)
        batch = torch.arange(len(images), device=images.device).unsqueeze(1)
        patches = patches[batch, keep // columns, keep % columns].flatten(2)
        return F.linear(patches, self.proj.weight.flatten(1), self.proj.bias)


class Attention(nn.Module):
    """Multi-head self-attention on torch's fused kernels.

    A subclass that biases attention by position overrides :meth:`attend`; ``grid`` tells it the
    rows and columns that the tokens were cut from.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f'{dim} channels do not divide into {num_heads} heads')
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, grid: Grid | None = None) -> Tensor:
        """[B, N, D] -> [B, N, D]."""
        q, k, v = by_head(self.qkv(x), 3, self.num_heads)
        return self.joined(self.attend(q, k, v, grid))

    def of_tokens(self, x: Tensor, tokens: list[int]) -> Tensor:
        """What :meth:`forward` gives for some tokens, [B, N, D] -> [B, n, D]: only they ask."""
        weight, bias, D = self.qkv.weight, self.qkv.bias, x.shape[2]
        (q,) = by_head(F.linear(_picked(x, tokens), weight[:D], bias[:D]), 1, self.num_heads)
        k, v = by_head(F.linear(x, weight[D:], bias[D:]), 2, self.num_heads)
        return self.joined(self.attend(q, k, v, None))

    def joined(self, attended: Tensor) -> Tensor:
        """What the heads found, [B, H, N, D / H] -> [B, N, D]."""
        return self.proj(attended.transpose(1, 2).flatten(2))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, grid: Grid | None) -> Tensor:
        """softmax(q k' / sqrt(D / H)) v, each [B, H, N, D / H]."""
        if q.dtype == torch.bfloat16 and q.device.type == 'cpu':
            return _attend_on_cpu(q, k, v)
        return F.scaled_dot_product_attention(q, k, v)


def by_head(x: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """Projections of tokens, [B, N, parts * D] -> as many tensors [B, H, N, D / H]."""
    return x.unflatten(-1, (parts, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


def _picked(x: Tensor, tokens: list[int]) -> Tensor:
    """Some tokens, [B, N, D] -> [B, n, D].

    A list as an index would be copied to a GPU in each call, which waits for all that the GPU still
    has to do, and cannot be captured as a CUDA graph.
    """
    return torch.stack([x[:, token] for token in tokens], dim=1)


def _attend_on_cpu(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention in bfloat16, where torch's fused kernels gain nothing from the CPU's products."""
    with torch.autocast('cpu', enabled=False):
        if q.shape[-2] <= _SHORT:
            weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
            return weights.softmax(dim=-1) @ v
        if q.requires_grad:  # and their gradient is faster in float32
            q_, k_, v_ = (tensor.float() for tensor in (q, k, v))
            return F.scaled_dot_product_attention(q_, k_, v_).to(q.dtype)
        return F.scaled_dot_product_attention(q, k, v)


class Block(nn.Module):
    """Pre-norm transformer block: attention, then a GELU MLP, each behind a residual.

    Args:
        dim: channels D.
        num_heads: heads H.
        drop_path: probability of dropping a residual branch of a sample while training.
        layer_scale: initial value of the per-channel gains ``gamma_1`` and ``gamma_2``; None for
            none (the segmentation backbone has them, at 1.0).
        attention: builds the attention module from ``(dim, num_heads)``.
        mlp_ratio: hidden channels of the MLP over ``dim``.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        attention: Callable[[int, int], nn.Module] = Attention,
        mlp_ratio: float = 4,
    ) -> None:
        super().__init__()
        if layer_scale is not None:
            self.gamma_1 = nn.Parameter(torch.full((dim,), float(layer_scale)))
            self.gamma_2 = nn.Parameter(torch.full((dim,), float(layer_scale)))
        self.has_layer_scale = layer_scale is not None
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = attention(dim, num_heads)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, round(mlp_ratio * dim), act_layer=nn.GELU)

    def forward(self, x: Tensor, grid: Grid | None = None) -> Tensor:
        """[B, N, D] -> [B, N, D]; ``grid`` is handed to the attention."""
        return self._after(x, self.attn(self.norm1(x), grid))

    def of_tokens(self, x: Tensor, tokens: list[int]) -> Tensor:
        """What :meth:`forward` gives for some tokens, [B, N, D] -> [B, n, D]."""
        attention = cast(Attention, self.attn)
        return self._after(_picked(x, tokens), attention.of_tokens(self.norm1(x), tokens))

    def _after(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.drop_path(self.gamma_1 * attended if self.has_layer_scale else attended)
        hidden = self.mlp(self.norm2(x))
        return x + self.drop_path(self.gamma_2 * hidden if self.has_layer_scale else hidden)


class VisionTransformer(BaseModule):
    """Patch embedding, class token, position embedding and a stack of blocks; no head, no norm.

    Backbones and the masked autoencoder inherit from it and arrange what goes in and comes out.

    Args:
        arch: size by name or in full, see :mod:`g2sd_mm.models.sizes`.
        img_size: side in pixels of the images that ``pos_embed`` is laid out for, or their height
            and width.
        patch_size: overrides the size's own.
        drop_path_rate: drop path of the last block; grows linearly from 0 at the first.
        layer_scale: see :class:`Block`.
        attention: builds the attention of block ``i`` from ``(i, dim, num_heads)``.
        with_cp: in training, recompute the blocks in the backward pass instead of keeping their
            activations: a third more arithmetic of the student for a fraction of the memory.
        in_channels: channels of the images.
        frozen_stages: -1 trains everything; 0 freezes what embeds (patches, positions, class
            token); n freezes the first n blocks too, and all of them also the norm behind them.
            What is frozen gets no gradient and stays in evaluation mode.
    """

    def __init__(
        self,
        arch: str | Mapping | EncoderSize,
        img_size: int | Sequence[int] = 224,
        patch_size: int | None = None,
        drop_path_rate: float = 0.0,
        layer_scale: float | None = None,
        attention: Callable[[int, int, int], nn.Module] | None = None,
        with_cp: bool = False,
        init_cfg: dict | None = None,
        in_channels: int = 3,
        frozen_stages: int = -1,
    ) -> None:
        super().__init__(init_cfg)
        self.with_cp = with_cp
        size = encoder_size(arch)
        patch_size = patch_size or size.patch_size
        if not -1 <= frozen_stages <= size.depth:
            raise ConfigError(
                f'model.backbone.frozen_stages={frozen_stages} is not in -1..{size.depth}, '
                f'the blocks of arch={arch!r}'
            )
        self.frozen_stages = frozen_stages
        self.embed_dim, self.depth = size.embed_dim, size.depth
        self.img_size, self.in_channels = plain_size(img_size), in_channels
        self.grid_size: Grid = patch_grid(img_size, patch_size)

        self.patch_embed = PatchEmbed(patch_size, size.embed_dim, in_channels)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size.embed_dim))
        positions = 1 + self.grid_size[0] * self.grid_size[1]
        self.pos_embed = nn.Parameter(torch.zeros(1, positions, size.embed_dim))
        self._resized: tuple[tuple, Tensor] | None = None  # of a frozen network, and for what
        self.blocks = nn.ModuleList(
            Block(
                size.embed_dim,
                size.num_heads,
                # timm's rule: linear from 0 at the first block to the full rate at the last
                drop_path=drop_path_rate * i / max(size.depth - 1, 1),
                layer_scale=layer_scale,
                attention=Attention if attention is None else partial(attention, i),
                mlp_ratio=size.mlp_ratio,
            )
            for i in range(size.depth)
        )
        self._freeze()

    def train(self, mode: bool = True) -> VisionTransformer:
        """Training or evaluation mode; what ``frozen_stages`` freezes stays in the latter."""
        super().train(mode)
        self._freeze()
        return self

    def _freeze(self) -> None:
        if self.frozen_stages < 0:
            return
        names = [*_EMBEDDING, *(_FINAL if self.frozen_stages == self.depth else ())]
        parts = [getattr(self, name, None) for name in names]
        for part in (*parts, *self.blocks[: self.frozen_stages]):
            if isinstance(part, nn.Module):
                part.eval()
            if part is not None:
                part.requires_grad_(False)

    def positions(self, grid: Grid) -> Tensor:
        """Position embedding [1, 1 + rows * columns, D] for a patch grid, resized if it differs.

        That of a frozen network is resized once for a grid, and kept until its weights change.
        """
        own = self.pos_embed
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
        if own.requires_grad or grid == self.grid_size or traced:
            return resize_positions(own, self.grid_size, grid)
        state = (grid, own.data_ptr(), own._version, own.dtype, own.device)
        kept = self._resized  # another thread may replace it
        if kept is None or kept[0] != state:
            kept = self._resized = state, resize_positions(own.detach(), self.grid_size, grid)
        return kept[1]

    def embed(self, images: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Grid]:
        """[B, 3, height, width] -> tokens [B, 1 + N, D], class token first, and the grid.

        ``keep``, int64 [B, n], has the raster numbers of the patches to look at, if not all.
        """
        grid = self.patch_embed.grid(images)
        positions = self.positions(grid)
        if keep is None:
            patches = self.patch_embed(images) + positions[:, 1:]
        else:
            patches = self.patch_embed.visible(images, keep) + positions[0, 1:][keep]
        cls = (self.cls_token + positions[:, :1]).expand(images.shape[0], -1, -1)
        return torch.cat([cls.to(patches.dtype), patches], dim=1), grid

    def run(self, block: nn.Module, x: Tensor, beside: Any = None) -> Tensor:
        """One of this network's blocks on [B, N, D], its activations kept or (``with_cp``) not.

        ``beside`` is what it takes beside the tokens: the grid that they were cut from, or of a
        decoder with cross-attention the visible tokens.
        """
        if self.with_cp and self.training:
            return checkpoint(block, x, beside, use_reentrant=False)
        return block(x, beside)

    def fit_state(
        self, state: Mapping[str, Tensor], grid: Grid | None = None
    ) -> dict[str, Tensor]:
        """A file's state with what depends on the images fitted to this network.

        Positions are resized bicubically, the patch projection takes other channels.

        Args:
            state: under published names.
            grid: patch grid of its positions, where the file says it.

        Raises:
            ValueError: if its positions form no grid that is known.
        """
        state = adapt_channels(state, self.in_channels)
        for name in ('pos_embed', 'decoder_pos_embed'):
            if name in state and state[name].ndim == 3:
                old = stored_grid(state[name].shape[1] - 1, self.grid_size, grid)
                state[name] = resize_positions(state[name], old, self.grid_size)
        return state

    def layer_id(self, name: str) -> int:
        """Layer number of one of this module's parameters, for layer-wise learning-rate decay.

        0 for what embeds (patches, positions, class token), ``i + 1`` for block ``i`` and
        ``depth + 1`` for everything after the blocks, a distillation token included.
        """
        if name in ('cls_token', 'pos_embed') or name.startswith('patch_embed.'):
            return 0
        if name.startswith('blocks.'):
            return int(name.split('.')[1]) + 1
        return self.depth + 1


def init_linears(module: nn.Module, init: Callable[[Tensor], Any]) -> None:
    """Every Linear below ``module`` by ``init``, with zero biases; unit LayerNorms; in place."""
    for child in module.modules():
        if isinstance(child, nn.Linear):
            init(child.weight)
            if child.bias is not None:
                nn.init.zeros_(child.bias)
        elif isinstance(child, nn.LayerNorm):
            nn.init.ones_(child.weight)
            nn.init.zeros_(child.bias)
