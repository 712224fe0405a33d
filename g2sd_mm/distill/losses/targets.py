"""What a loss on tokens compares: how targets are standardised, and which tokens count."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch.nn.functional as F
from torch import Tensor

from ...models.masking import Masking

TOKENS = ('all', 'masked', 'patches')


def normalised_target(features: Tensor, eps: float = 1e-6) -> Tensor:
    """LayerNorm over the channels of each token, without affine parameters; same shape."""
    return F.layer_norm(features, features.shape[-1:], eps=eps)


def _as_it_is(features: Tensor) -> Tensor:
    return features


#: How a teacher's features become targets.
TARGETS: dict[str, Callable[[Tensor], Tensor]] = {
    'layernorm': normalised_target, 'none': _as_it_is,
}


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raise ValueError for an option of a loss that is none of its choices."""
    if value not in choices:
        raise ValueError(f'{name}={value!r} is none of {", ".join(choices)}')


def select_tokens(tokens: Tensor, which: str, view: Masking | None) -> Tensor:
    """The tokens that count, of a class token and the patches after it [B, 1 + L (or less), d].

    Args:
        tokens: of all patches in raster order; where the view leaves hidden ones out, visible ones
            come first.
        which: ``all``, ``patches`` (all but the class token) or ``masked`` patches alone.
        view: which patches are visible; for ``masked``.

    Raises:
        ValueError: for ``masked`` without a view.
    """
    if which == 'all':
        return tokens
    patches = tokens[:, 1:]
    if which == 'patches':
        return patches
    if view is None:
        raise ValueError("tokens='masked' of a student that sees all patches: take 'patches'")
    if view.hidden is not None:
        return patches[:, view.keep.shape[1] :]
    return patches[view.mask.bool()]
