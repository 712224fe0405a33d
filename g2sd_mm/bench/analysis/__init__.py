"""What a student has in common with its teacher, and how both bear what they were not trained on.

One file an analysis: pure functions of tensors, and one function that asks networks and gives
plain values. Nothing here draws or writes files. :data:`ANALYSES` has all by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import agreement, attention, cka, corruption, occlusion
from .network import Advance, Networks
from .samples import Samples

Ask = Callable[[Networks, Samples, Advance], dict[str, Any]]


@dataclass(frozen=True)
class Analysis:
    """One analysis.

    ask: computes it.
    images: asked for, unless a person wants another number.
    passes: how often each image goes through a network, by the number of networks.
    needs_classes: whether networks have to be classifiers.
    """

    ask: Ask
    images: int
    passes: Callable[[int], int]
    needs_classes: bool = True


ANALYSES = {
    'agreement': Analysis(
        lambda nets, s, told: agreement.compare_answers(nets, s.images, s.known_labels(), told),
        images=1000,
        passes=lambda networks: networks,
    ),
    'occlusion': Analysis(
        lambda nets, s, told: occlusion.occlusion(nets, s.images, s.known_labels(), told),
        images=500,
        # the teacher's saliency, the whole image, and both orders of each further fraction
        passes=lambda networks: 1 + networks * (2 * len(occlusion.FRACTIONS) - 1),
    ),
    'corruption': Analysis(
        lambda nets, s, told: corruption.robustness(nets, s.images, s.known_labels(), told),
        images=200,
        passes=lambda networks: networks * (1 + len(corruption.KINDS) * len(corruption.SEVERITIES)),
    ),
    'cka': Analysis(
        lambda nets, s, told: cka.compare_layers(nets, s.images, advance=told),
        images=500,
        passes=lambda networks: networks,
        needs_classes=False,
    ),
    'attention': Analysis(
        lambda nets, s, told: attention.attention_reach(nets, s.images, told),
        images=200,
        passes=lambda networks: networks,
        needs_classes=False,
    ),
}
