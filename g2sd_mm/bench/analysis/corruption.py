"""Accuracy on images that are corrupted on the fly, in ImageNet-C's kinds and strengths.

The corruptions are those of Hendrycks and Dietterich (ICLR 2019), by the ``imagecorruptions``
package. Their strengths were chosen for images of 224 px: on smaller ones the same blur hides more.
They are applied to what the network is given (after the crop), as in ImageNet-C. The figures are
not ImageNet-C's: those come from its own files, see ``configs/robustness``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import UserError
from ...seeding import Generators
from .network import Advance, Networks, accuracy, logits, nothing

#: Of each family of ImageNet-C (noise, blur, weather, digital).
KINDS = (
    'gaussian_noise', 'shot_noise', 'defocus_blur', 'motion_blur', 'fog', 'brightness',
    'contrast', 'pixelate', 'jpeg_compression',
)  # fmt: skip
SEVERITIES = (1, 2, 3, 4, 5)
# they draw from generators that cannot be seeded from outside
_OWN_RANDOMNESS = {'impulse_noise', 'glass_blur'}
_LEAST_SIDE = 32  # pixels; what the package takes


def known_kinds() -> list[str]:
    """Names of the corruptions that can be repeated, ImageNet-C's own first."""
    from imagecorruptions import get_corruption_names

    return [kind for kind in get_corruption_names('all') if kind not in _OWN_RANDOMNESS]


def corrupted(images: Tensor, kind: str, severity: int) -> Tensor:
    """A copy of images uint8 [N, 3, height, width], RGB, each corrupted by its own random numbers.

    Image i gets the same corruption every time: its randomness depends on i, kind and severity.

    Raises:
        UserError: for an unknown kind, or images of less than 32 px, or of other channels.
    """
    from imagecorruptions import corrupt

    kinds = known_kinds()
    if kind not in kinds:
        raise UserError(f'no corruption {kind!r}: known are {", ".join(kinds)}')
    if images.shape[1] != 3 or images.dtype != torch.uint8:
        raise UserError(f'corruptions need RGB of 8 bits, got {images.dtype} {[*images.shape[1:]]}')
    if min(images.shape[-2:]) < _LEAST_SIDE:
        raise UserError(f'corruptions need images of {_LEAST_SIDE} px, got {images.shape[-1]}')
    changed = np.empty_like(images.permute(0, 2, 3, 1).numpy())
    generators = Generators()  # the package draws from numpy's
    for i, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        numbers = np.random.SeedSequence((i, kinds.index(kind), severity))
        np.random.seed(numbers.generate_state(4))
        changed[i] = corrupt(np.ascontiguousarray(image), severity, kind)
    generators.restore()
    return torch.from_numpy(changed).permute(0, 3, 1, 2)


def robustness(
    networks: Networks, images: Tensor, labels: Tensor, advance: Advance = nothing
) -> dict[str, Any]:
    """Accuracy of classifiers by corruption and severity.

    Returns:
        ``clean``: network -> accuracy in percent; ``accuracy``: network -> kind -> a value for each
        severity; ``mean``: network -> mean over all of them.
    """
    clean = {name: accuracy(logits(net, images, advance), labels) for name, net in networks.items()}
    found: dict[str, dict[str, list[float]]] = {name: {} for name in networks}
    for kind in KINDS:
        for severity in SEVERITIES:
            worse = corrupted(images, kind, severity)
            for name, net in networks.items():
                value = accuracy(logits(net, worse, advance), labels)
                found[name].setdefault(kind, []).append(value)
    return {
        'images': len(images),
        'severities': list(SEVERITIES),
        'clean': clean,
        'accuracy': found,
        'mean': {
            name: float(np.mean(list(by_kind.values()))) for name, by_kind in found.items()
        },
    }

