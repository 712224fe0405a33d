"""Losses on several layers at once, and on attention: TinyBERT, manifold distillation, SSTA.

Taps on ``blocks.*`` hear the layers as a list, taps on ``blocks.*.attn:scores`` attention before
the softmax.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from mmengine.registry import MODELS
from torch import Tensor, nn

from ...errors import UserError
from .common import FunctionLoss, mean_row_divergence


def layer_pairs(student: int, teacher: int, with_embedding: bool = False) -> list[int]:
    """For each layer of the student the number of the teacher's that it is compared with.

    TinyBERT's uniform map: of a teacher k times as deep the last layer of each group of k. With
    embeddings in front of the layers of both, the embedding and every k-th layer.

    Raises:
        UserError: if the teacher is not a whole number of times as deep.
    """
    own, theirs = student - with_embedding, teacher - with_embedding
    if own < 1 or theirs < own or theirs % own:
        raise UserError(
            f'layers are compared in groups of one size: the teacher has {theirs} for the '
            f"student's {own}, which is not a whole number of times as many"
        )
    k = theirs // own
    return [i * k if with_embedding else (i + 1) * k - 1 for i in range(student)]


def layerwise_mse(
    student: Sequence[Tensor], teacher: Sequence[Tensor], with_embedding: bool = False
) -> Tensor:
    """Sum over the student's layers of the mean squared difference (TinyBERT).

    Args:
        student: per layer hidden states [B, N, C], or attention scores [B, H, N, N].
        teacher: the same, of as many layers or a multiple, see :func:`layer_pairs`.
        with_embedding: whether the first of both is what the first layer was given.

    Raises:
        UserError: if layers or their shapes cannot be compared (scores: other numbers of heads).
    """
    pairs = layer_pairs(len(student), len(teacher), with_embedding)
    for own, other in ((student[0], teacher[pairs[0]]), (student[-1], teacher[pairs[-1]])):
        if own.shape != other.shape:
            raise UserError(
                f'layers {list(own.shape)} of the student are compared with {list(other.shape)} of '
                'the teacher: attention scores need a student with as many heads, hidden states an '
                'adapter to the teacher\'s width'
            )
    values = [F.mse_loss(own, teacher[i]) for own, i in zip(student, pairs, strict=True)]
    return torch.stack(values).sum()


@MODELS.register_module()
class LayerwiseMSELoss(FunctionLoss):
    """:func:`layerwise_mse` of taps that hear all layers, times ``loss_weight``.

    A :class:`~g2sd_mm.distill.adapters.TokenAdapter` on such a tap is one map for all of them.
    """

    function = staticmethod(layerwise_mse)

    def __init__(self, with_embedding: bool = False, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.options = {'with_embedding': with_embedding}


def manifold_loss(
    student: Tensor,
    teacher: Tensor,
    chosen: Tensor,
    sample: float = 0.1,
    patch: float = 4.0,
    random: float = 0.2,
) -> Tensor:
    """Squared difference of token similarities (manifold distillation, Hao et al. 2022).

    With tokens at unit length and ``M(x) = mean (x_T x_T' - x_S x_S') ** 2``:
    ``patch`` times the mean of M over images (tokens of an image, N x N), plus ``sample`` times
    the mean of M over places (the same place of all images, B x B), plus ``random`` times M of
    tokens that are drawn from all images, K x K.

    Args:
        student: [B, N, Cs], without class tokens.
        teacher: [B, N, Ct], of any width.
        chosen: int64 [K], numbers of the drawn tokens among B N.
        sample, patch, random: weights.
    """
    own, other = (F.normalize(tokens, dim=-1) for tokens in (student, teacher))

    def differ(x: Tensor, y: Tensor) -> Tensor:
        return (y @ y.transpose(-2, -1) - x @ x.transpose(-2, -1)).square().mean()

    of_images = differ(own, other)
    of_places = differ(own.transpose(0, 1), other.transpose(0, 1))
    drawn = differ(own.flatten(0, 1)[chosen], other.flatten(0, 1)[chosen])
    return patch * of_images + sample * of_places + random * drawn


@MODELS.register_module()
class ManifoldLoss(nn.Module):
    """Mean over pairs of layers of :func:`manifold_loss`; taps hear ``blocks.*`` of both.

    Args:
        ends: so many of the first layers, and so many of the last, of both networks are compared.
        number: tokens K that are drawn for the third term, anew in each step.
        sample, patch, random: weights of the terms.
        loss_weight: factor on the result.
    """

    def __init__(
        self,
        ends: int = 4,
        number: int = 192,
        sample: float = 0.1,
        patch: float = 4.0,
        random: float = 0.2,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.ends, self.number, self.loss_weight = ends, number, loss_weight
        self.weights = dict(sample=sample, patch=patch, random=random)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """Per layer a class token and patches [B, 1 + N, .] of each network -> scalar.

        Raises:
            UserError: if there are fewer layers, or the patches are others.
        """
        ends = [*range(self.ends), *range(-self.ends, 0)]
        if min(len(student), len(teacher)) < self.ends:
            raise UserError(
                f'ManifoldLoss.ends={self.ends}, and there are {len(student)} layers of the '
                f'student and {len(teacher)} of the teacher'
            )
        own, other = ([side[i][:, 1:] for i in ends] for side in (student, teacher))
        if own[0].shape[:2] != other[0].shape[:2]:
            raise UserError(
                f'ManifoldLoss compares patches {list(own[0].shape)} of the student with '
                f'{list(other[0].shape)} of the teacher: both need the same, behind one class token'
            )
        B, N, _ = own[0].shape
        chosen = torch.randperm(B * N)[: self.number].to(own[0].device)
        values = [
            manifold_loss(x, y, chosen, **self.weights) for x, y in zip(own, other, strict=True)
        ]
        return self.loss_weight * torch.stack(values).mean()


def head_importance(scores: Tensor) -> Tensor:
    """How sure each head is of where it looks: scores [B, H, N, N] -> [H].

    The mean over images and rows of the largest attention weight.
    """
    return scores.softmax(dim=-1).amax(dim=-1).mean(dim=(0, 2))


@MODELS.register_module()
class HeadAttentionLoss(nn.Module):
    """One head of the student attends as the most important head of a teacher (after SSTA).

    The loss is the mean over images and rows of ``KL(teacher || student)`` of their attention.
    Which head that is follows from :func:`head_importance`, averaged over all steps so far and all
    processes. What SSTA measures importance by could not be read; this measure is Voita et al.'s
    (ACL 2019) confidence.

    Args:
        teacher_heads: heads of the teacher's layer that is tapped (``blocks.-1.attn:scores``).
        student_head: number of the student's head that learns, one for each teacher.
        loss_weight: factor on the result.

    Where one network has a distillation token behind the others' tokens, that is left out.
    """

    importance: Tensor
    seen: Tensor

    def __init__(
        self, teacher_heads: int, student_head: int = 0, loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.student_head, self.loss_weight = student_head, loss_weight
        self.register_buffer('importance', torch.zeros(teacher_heads))
        self.register_buffer('seen', torch.zeros((), dtype=torch.int64))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Scores [B, H, N, N] of each network -> scalar.

        Raises:
            UserError: if a network has other heads than the config says, or sees other tokens.
        """
        if teacher.shape[1] != len(self.importance) or student.shape[1] <= self.student_head:
            raise UserError(
                f'HeadAttentionLoss: teacher_heads={len(self.importance)} and '
                f'student_head={self.student_head}, and the taps hear {teacher.shape[1]} heads of '
                f'the teacher and {student.shape[1]} of the student'
            )
        N, most = sorted((student.shape[-1], teacher.shape[-1]))
        if most > N + 1:
            raise UserError(
                f'HeadAttentionLoss: the taps hear attention of {student.shape[-1]} tokens of the '
                f'student and {teacher.shape[-1]} of the teacher: both need the same patches, all '
                'seen, and none but a distillation token beside them'
            )
        student, teacher = (scores[..., :N, :N] for scores in (student, teacher))
        if self.training:
            with torch.no_grad():
                now = head_importance(teacher).to(self.importance.dtype)
                all_reduce(now, 'mean')
                known = now.isfinite().all()  # a step of NaN is skipped, and leaves it as it was
                self.seen += known
                change = torch.where(known, now - self.importance, torch.zeros_like(now))
                self.importance += change / self.seen.clamp(min=1)
        head = self.importance.argmax()
        chosen = teacher.index_select(1, head.unsqueeze(0)).squeeze(1)
        return self.loss_weight * mean_row_divergence(student[:, self.student_head], chosen)
