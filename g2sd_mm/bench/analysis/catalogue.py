"""All analyses by name: how each asks the networks, and of how many images."""

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
        lambda nets, s, advance: agreement.compare_answers(
            nets, s.images, s.known_labels(), advance
        ),
        images=1000,
        passes=lambda networks: networks,
    ),
    'occlusion': Analysis(
        lambda nets, s, advance: occlusion.occlusion(
            nets, s.images, s.known_labels(), advance=advance
        ),
        images=500,
        passes=occlusion.passes,
    ),
    'corruption': Analysis(
        lambda nets, s, advance: corruption.corruption_robustness(
            nets, s.images, s.known_labels(), advance=advance
        ),
        images=200,
        passes=corruption.passes,
    ),
    'cka': Analysis(
        lambda nets, s, advance: cka.compare_layers(nets, s.images, advance=advance),
        images=500,
        passes=lambda networks: networks,
        needs_classes=False,
    ),
    'attention': Analysis(
        lambda nets, s, advance: attention.attention_reach(nets, s.images, advance),
        images=200,
        passes=lambda networks: networks,
        needs_classes=False,
    ),
}
