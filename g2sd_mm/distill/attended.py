"""A teacher that sees the patches its student looks at (MaskedKD, Son et al., arXiv 2302.10494).

The student runs first; of each image the patches that its class token attends to least are left out
of the teacher, whose arithmetic falls with their share. Losses on tokens compare what both have.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from ..errors import ConfigError, UserError
from ..models.backbones import G2SDViT
from .taps import Taps, attention_part, find_modules


class Attended(NamedTuple):
    """What of each image a teacher is shown.

    keep: raster numbers in ascending order, int64 [B, n].
    patches: of the whole image.
    """

    keep: Tensor
    patches: int

    def beside(self, heard: Any) -> Any:
        """What a student's tap heard, tokens as those of the teacher: class token, shown patches.

        Anything but tokens [B, 1 + patches or more, D] stays as it is.
        """
        return tree_map_only(Tensor, self._tokens_beside, heard)

    def _tokens_beside(self, tokens: Tensor) -> Tensor:
        if tokens.ndim != 3 or tokens.shape[1] <= self.patches:
            return tokens
        order = self.keep.unsqueeze(-1).expand(-1, -1, tokens.shape[-1])
        return torch.cat([tokens[:, :1], tokens[:, 1:].gather(1, order)], dim=1)


def class_attention(q: Tensor, k: Tensor) -> Tensor:
    """How much the class token attends to every other one, as a mean over heads: [B, N - 1].

    ``softmax(q_cls k' / sqrt(d))`` without its first column, of queries and keys [B, H, N, d].
    """
    q, k = q.detach().float(), k.detach().float()
    logits = torch.einsum('bhd,bhnd->bhn', q[:, :, 0], k) * q.shape[-1] ** -0.5
    return logits.softmax(dim=-1).mean(dim=1)[:, 1:]


def most_attended(attention: Tensor, share: float) -> Tensor:
    """Numbers of a share of the L patches, at least one, of most attention [B, L]: int64 [B, n]."""
    number = max(1, round(share * attention.shape[1]))
    return attention.topk(number, dim=1).indices.sort(dim=1).values


class AttendedPatches:
    """Hears what a student's attention put out, and says which patches its teacher is shown.

    Args:
        student: with the module; its tokens are the class token, the patches in raster order, and
            whatever else it appends to them.
        share: of the patches, above 0 and up to 1.
        module: the attention whose class token decides, by its dotted name in the student.

    Raises:
        UserError: for a share or a module that there cannot be.
    """

    def __init__(
        self, student: nn.Module, share: float = 0.5, module: str = 'backbone.blocks.-1.attn'
    ) -> None:
        if not 0 < share <= 1:
            raise UserError(
                f'distillation.teacher_patches.share={share} is not above 0 and at most 1'
            )
        self.share = share
        # of any family's attention, where a tap on its q and k is for a plain one alone
        self._tap = Taps(student, {'qkv': f'{module}.qkv'})
        (self._attention,) = find_modules(student, module)

    def record(self) -> Any:
        """Yields what :meth:`view` takes, see :meth:`~g2sd_mm.distill.taps.Taps.record`."""
        return self._tap.record()

    def view(self, heard: dict[str, Any], teacher: Any, images: Tensor) -> Attended:
        """What a teacher is shown of images that the student was heard on."""
        rows, columns = teacher.model.backbone.patch_embed.grid(images)
        patches = rows * columns
        q, k = (attention_part(self._attention, heard['qkv'], part) for part in 'qk')
        attention = class_attention(q, k)[:, :patches]
        return Attended(most_attended(attention, self.share), patches)


def check_teacher(teacher: Any, own: int | None) -> None:
    """Refuse a teacher that cannot leave patches out, or has others than a student of ``own`` px.

    Raises:
        ConfigError: naming the entry.
    """
    network: Any = getattr(getattr(teacher, 'model', None), 'backbone', None)
    if not isinstance(network, G2SDViT):
        raise ConfigError(
            'distillation.teacher_patches is for a teacher with a G2SDViT as its backbone, which '
            f'can leave patches out; {type(network or teacher).__name__} cannot: leave it out'
        )
    theirs = network.patch_embed.patch_size
    if own not in (None, theirs):
        raise ConfigError(
            f'distillation.teacher_patches: patches of {own} px of the student say nothing of the '
            f"teacher's of {theirs} px: leave it out"
        )
