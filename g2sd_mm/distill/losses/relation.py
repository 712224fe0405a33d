"""Token relations: which tokens are alike, seen through queries, keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

Triple = tuple[Tensor, ...]  # queries, keys, values


def token_relation_loss(
    student: Sequence[Triple], teacher: Sequence[Triple], heads: int = 1
) -> Tensor:
    """KL divergence of token-to-token relations, over all pairs of {q, k, v} and all layers.

    For each ordered pair (X, Y) the relation is ``softmax(X Y' / sqrt(C / heads))``; the loss is
    the mean over batch, heads and rows of ``KL(teacher || student)``, summed over the 9 pairs and
    the layers and divided by ``9 * layers``.

    Args:
        student: per layer (q, k, v), each [B, N, Cs], un-scaled, attention heads concatenated.
        teacher: the same of the teacher, [B, N, Ct]; layer i is compared with layer i, and the
            layers of a deeper teacher that are left over are not.
        heads: relation heads that the channels are split into.

    Returns:
        scalar.

    Raises:
        ValueError: if the teacher has fewer layers than the student.
    """
    if len(teacher) < len(student):
        raise ValueError(
            f'relations are compared layer by layer, and the teacher has {len(teacher)} layers '
            f"for the student's {len(student)}"
        )
    total = torch.zeros((), device=student[0][0].device, dtype=student[0][0].dtype)
    for own, other in zip(student, teacher, strict=False):
        for x, y in product(range(3), repeat=2):
            log_s = _relation_logits(own[x], own[y], heads).log_softmax(dim=-1)
            log_t = _relation_logits(other[x], other[y], heads).log_softmax(dim=-1)
            kl = F.kl_div(log_s, log_t, reduction='none', log_target=True).sum(dim=-1)
            total = total + kl.mean()
    return total / (9 * len(student))


def _relation_logits(x: Tensor, y: Tensor, heads: int) -> Tensor:
    """[B, N, C] each -> [B, heads, N, N]."""
    B, N, C = x.shape
    x, y = (t.reshape(B, N, heads, C // heads).transpose(1, 2) for t in (x, y))
    return x @ y.transpose(-2, -1) / (C / heads) ** 0.5


@MODELS.register_module()
class TokenRelationLoss(nn.Module):
    """:func:`token_relation_loss` on tapped ``qkv`` projections.

    Args:
        heads: relation heads.
        loss_weight: factor on the result.
    """

    def __init__(self, heads: int = 1, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.heads, self.loss_weight = heads, loss_weight

    def forward(
        self, student: Sequence[Tensor] | Tensor, teacher: Sequence[Tensor] | Tensor
    ) -> Tensor:
        """Per layer the output of ``attn.qkv``, [B, N, 3 C], of each network -> scalar.

        One tensor is one layer: what a tap on a single ``attn.qkv`` records.
        """
        sides = [[side] if isinstance(side, Tensor) else side for side in (student, teacher)]
        dtype = sides[0][0].dtype
        own, other = (
            [layer.to(dtype).chunk(3, dim=-1) for layer in layers] for layers in sides
        )
        return self.loss_weight * token_relation_loss(own, other, self.heads)
