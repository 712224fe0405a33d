"""What a loss on tokens compares: the published target, and which tokens count."""

from __future__ import annotations

from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor

from ...models.masking import Masking

TOKENS = ('all', 'masked', 'patches', 'cls')


def normalised_target(features: Tensor, eps: float = 1e-6) -> Tensor:
    """LayerNorm over the channels of each token, without affine parameters; same shape."""
    return F.layer_norm(features, features.shape[-1:], eps=eps)


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raise ValueError for an option of a loss that is none of its choices."""
    if value not in choices:
        raise ValueError(f'{name}={value!r} is none of {", ".join(choices)}')


def select_tokens(
    tokens: Tensor, which: str, view: Masking | None = None, first: int = 1
) -> Tensor:
    """The tokens that count, of class tokens and the patches after them [B, first + N, d].

    Args:
        tokens: of all patches in raster order; where the view leaves hidden ones out, visible ones
            come first.
        which: ``all``, ``cls``, ``patches`` or ``masked`` patches alone.
        view: which patches are visible; for ``masked``.
        first: class tokens in front, 0 or 1.

    Returns:
        [B, n, d]; of ``masked`` patches of whole images [B * n, d], image by image.

    Raises:
        ValueError: for ``masked`` without a view or without hidden patches, and for ``cls`` without
            a class token.
    """
    if which == 'all':
        return tokens
    if which == 'cls':
        if not first:
            raise ValueError("tokens='cls' of networks without a class token: take 'patches'")
        return tokens[:, :first]
    patches = tokens[:, first:]
    if which == 'patches':
        return patches
    if view is None:
        raise ValueError("tokens='masked' of a student that sees all patches: take 'patches'")
    if view.keep.shape[1] == view.mask.shape[1]:
        raise ValueError("tokens='masked', and model.mask_ratio=0 hides no patch: take 'patches'")
    if view.hidden is not None:
        return patches[:, view.keep.shape[1] :]
    return patches[view.mask.bool()]
