"""Token relations: which tokens are alike, by queries, keys and values or by their directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from ...errors import UserError
from ...models.masking import Masking
from ..teachers.protocol import Features
from .common import check_choice, mean_row_divergence
from .feature import TokenLoss

Triple = tuple[Tensor, ...]  # queries, keys, values
#: Of which the relations are: queries to queries, queries to keys, ...
PAIRS = tuple(x + y for x in 'qkv' for y in 'qkv')


def token_relation_loss(
    student: Sequence[Triple],
    teacher: Sequence[Triple],
    heads: int = 1,
    pairs: Sequence[str] = PAIRS,
) -> Tensor:
    """KL divergence of token-to-token relations, over pairs of {q, k, v} and all layers.

    For each ordered pair (X, Y) the relation is ``softmax(X Y' / sqrt(C / heads))``; the loss is
    the mean over batch, heads and rows of ``KL(teacher || student)``, averaged over the pairs and
    the layers. All 9 pairs are what the release of G2SD defines, ``('qk', 'vv')`` is TinyMIM's.

    Args:
        student: per layer (q, k, v), each [B, N, Cs], un-scaled, attention heads concatenated.
        teacher: the same of the teacher, [B, N, Ct]; layer i is compared with layer i, and the
            layers of a deeper teacher that are left over are not.
        heads: relation heads that the channels are split into.
        pairs: of :data:`PAIRS`.

    Raises:
        ValueError: if the teacher has fewer layers than the student.
        UserError: if a layer's tokens differ in number.
    """
    if len(teacher) < len(student):
        raise ValueError(
            f'relations are compared layer by layer, and the teacher has {len(teacher)} layers '
            f"for the student's {len(student)}"
        )
    total = torch.zeros((), device=student[0][0].device, dtype=student[0][0].dtype)
    for own, other in zip(student, teacher, strict=False):
        if own[0].shape[1] != other[0].shape[1]:
            raise UserError(
                f'relations of {own[0].shape[1]} tokens of the student are compared with those of '
                f'{other[0].shape[1]} of the teacher: both have to see the same patches'
            )
        for x, y in (map('qkv'.index, pair) for pair in pairs):
            logits = (_relation_logits(side[x], side[y], heads) for side in (own, other))
            total = total + mean_row_divergence(*logits)
    return total / (len(pairs) * len(student))


def token_similarity_loss(
    student: Tensor, teacher: Tensor, temperature: float = 0.07
) -> Tensor:
    """KL divergence of maps of cosine similarity between the tokens of an image.

    The map is ``softmax(x x' / temperature)`` over each row, of tokens ``x`` at unit length; the
    loss is the mean over images and rows of ``KL(teacher || student)``.

    Args:
        student: [B, N, Cs].
        teacher: [B, N, Ct], of any width.
        temperature: of both softmaxes.
    """
    sides = (F.normalize(tokens, dim=-1) for tokens in (student, teacher))
    return mean_row_divergence(*(x @ x.transpose(1, 2) / temperature for x in sides))


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
        pairs: relations that are compared, see :func:`token_relation_loss`.
    """

    def __init__(
        self, heads: int = 1, loss_weight: float = 1.0, pairs: Sequence[str] = PAIRS
    ) -> None:
        super().__init__()
        for pair in pairs:
            check_choice('pairs', pair, PAIRS)
        self.heads, self.loss_weight, self.pairs = heads, loss_weight, tuple(pairs)

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
        return self.loss_weight * token_relation_loss(own, other, self.heads, self.pairs)


@MODELS.register_module()
class TokenSimilarityLoss(TokenLoss):
    """:func:`token_similarity_loss` (as the local term of LightlyTrain's third method).

    Tokens of any widths are compared, so no adapter is needed.

    Args:
        temperature: of the softmaxes.
        tokens: those that are compared, see :class:`TokenLoss`: by default patches.
        options: of :class:`TokenLoss`.
    """

    any_widths = True

    def __init__(
        self, temperature: float = 0.07, tokens: str = 'patches', **options: Any
    ) -> None:
        super().__init__(tokens=tokens, **options)
        self.temperature = temperature

    def compared(
        self, student: Tensor, teacher: Tensor | Features, view: Masking | None
    ) -> tuple[Tensor, Tensor]:
        compared = super().compared(student, teacher, view)
        if view is None or compared[0].ndim == 3:
            return compared
        # image by image: as many tokens are hidden of each of which some are
        hidden = int(view.mask.sum(dim=1).max())
        predicted, target = (tokens.unflatten(0, (-1, hidden)) for tokens in compared)
        return predicted, target

    def distance(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Divergence of the similarity maps of the tokens that are given."""
        return token_similarity_loss(predicted, target, self.temperature)
