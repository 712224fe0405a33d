"""The patch projection of weights that saw images with other channels."""

from __future__ import annotations

from collections.abc import Mapping

from timm.models import adapt_input_conv
from torch import Tensor

_PROJECTION = 'patch_embed.proj.weight'
#: What makes pixels of features: of other channels it has no counterpart.
_PIXELS = ('decoder_pred.',)


def adapt_channels(state: Mapping[str, Tensor], channels: int) -> dict[str, Tensor]:
    """An RGB network's state for images of another number of channels, by timm's rule.

    One channel: the kernels of the three are summed, so that a grey image gives what it gave as
    RGB. Else they are repeated in turn and scaled by ``3 / channels``. The pixel predictor of a
    masked autoencoder is left out then.

    Args:
        state: under published names; one of no RGB network stays as it is.
        channels: of the images.
    """
    kernel = state.get(_PROJECTION)
    if kernel is None or kernel.ndim != 4 or kernel.shape[1] != 3 or channels == 3:
        return dict(state)
    adapted = {name: t for name, t in state.items() if not name.startswith(_PIXELS)}
    adapted[_PROJECTION] = adapt_input_conv(channels, kernel)
    return adapted
