"""Names of stage 1's predictors: published, and in training checkpoints of this project."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

#: Adapters of the distiller -> published names, which training checkpoints of version 0.1 have too.
_PUBLISHED = {
    'distillation.adapters.tokens.': 'decoderfeature_pred.',
    'distillation.adapters.encoder.': 'encoderfeature_pred.',
}


def published_name(name: str) -> str:
    """A predictor's published name; any other name as it is."""
    for ours, published in _PUBLISHED.items():
        if name.startswith(ours):
            return published + name.removeprefix(ours)
    return name


def with_our_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A stage-1 training checkpoint's tensors, its predictors named as the distiller names them."""
    ours = {published: own for own, published in _PUBLISHED.items()}
    named = {}
    for name, tensor in state.items():
        head, dot, tail = name.partition('.')
        named[ours[head + dot] + tail if head + dot in ours else name] = tensor
    return named
