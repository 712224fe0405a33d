"""How many CPU threads asking networks pays for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .network import Networks

#: Parameters of the largest backbone up to which one thread is enough; ViT-Ti has 5.5 million.
SMALL = 3_000_000


@contextmanager
def enough_threads(networks: Networks) -> Iterator[None]:
    """Within the block torch computes on one thread if all backbones are small, else as it did.

    A pass of a small network is thousands of computations of microseconds each. OpenMP's threads
    wait for each other after every one of them, spinning: with other work on the cores that takes
    eight times as long as one thread, and saves little where the cores are idle.
    """
    sizes = [
        sum(parameter.numel() for parameter in network.model.backbone.parameters())
        for network in networks.values()
    ]
    before = torch.get_num_threads()
    torch.set_num_threads(1 if max(sizes, default=0) <= SMALL else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
