"""Decoder blocks in which hidden tokens look at visible ones alone (SAMI, CrossMAE).

Shapes: B images, m hidden and n visible patches, d decoder channels, H heads.
"""

from __future__ import annotations

from timm.layers import Mlp
from torch import Tensor, nn

from .vit import NORM_EPS, Attention


class CrossAttention(Attention):
    """Multi-head attention from some tokens to others, on torch's fused kernels."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__(dim, num_heads)
        del self.qkv
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:  # type: ignore[override]
        """Queries of x [B, m, d], keys and values of context [B, 1 + n, d] -> [B, m, d]."""
        B, m, d = x.shape
        head = d // self.num_heads
        q = self.q(x).reshape(B, m, self.num_heads, head).transpose(1, 2)  # [B, H, m, d / H]
        kv = self.kv(context).reshape(B, -1, 2, self.num_heads, head)
        k, v = kv.permute(2, 0, 3, 1, 4).unbind(0)  # each [B, H, 1 + n, d / H]
        return self.proj(self.attend(q, k, v, None).transpose(1, 2).reshape(B, m, d))


class CrossBlock(nn.Module):
    """Pre-norm block: attention to the visible tokens, then a GELU MLP, each behind a residual.

    Args:
        dim: channels d.
        num_heads: heads H.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.norm_context = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = CrossAttention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, 4 * dim, act_layer=nn.GELU)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Hidden tokens [B, m, d], class token and visible ones [B, 1 + n, d] -> [B, m, d]."""
        x = x + self.attn(self.norm1(x), self.norm_context(context))
        return x + self.mlp(self.norm2(x))
