"""The first stages of a network that do not train, in the words of OpenMMLab."""

from __future__ import annotations

from typing import Any

from torch import nn

#: What embeds the image, and what normalises after the last block.
_EMBEDDING = ('patch_embed', 'pos_embed', 'cls_token')
_FINAL = ('norm', 'fc_norm')


def freeze_first_stages(network: Any, stages: int) -> None:
    """Take the gradient off the first stages and put them into evaluation mode, in place.

    Args:
        network: a :class:`~g2sd_mm.models.vit.VisionTransformer`.
        stages: as its ``frozen_stages``.
    """
    if stages < 0:
        return
    names = [*_EMBEDDING, *(_FINAL if stages == network.depth else ())]
    parts = [getattr(network, name, None) for name in names]
    for part in (*parts, *network.blocks[:stages]):
        if isinstance(part, nn.Module):
            part.eval()
        if part is not None:
            part.requires_grad_(False)
