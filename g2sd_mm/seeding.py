"""One way to seed everything from a tuple of numbers."""

from __future__ import annotations

import random

import numpy as np
import torch


class Generators:
    """The state that python's, numpy's and torch's global generators (GPUs too) have now."""

    def __init__(self) -> None:
        self._host = random.getstate(), np.random.get_state(), torch.get_rng_state()
        self._gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None

    def restore(self) -> None:
        """Give the generators that state again; those of GPUs that were not in use stay."""
        random.setstate(self._host[0])
        np.random.set_state(self._host[1])
        torch.set_rng_state(self._host[2])
        if self._gpus is not None:
            torch.cuda.set_rng_state_all(self._gpus)

    def same(self, other: Generators) -> bool:
        """Whether torch's generator on the host, which draws weights, had the same state."""
        return torch.equal(self._host[2], other._host[2])


def seed_everything(*entropy: int) -> None:
    """Seed python's, numpy's and torch's global generators (GPUs too).

    Args:
        entropy: any non-negative integers; equal tuples give equal states, and near ones unrelated
            states (numpy's ``SeedSequence``).
    """
    words = np.random.SeedSequence(entropy).generate_state(2)
    random.seed(int(words[0]))
    np.random.seed(int(words[0]))
    # not torch.manual_seed: where a GPU backend is built in but not started, each call queues a
    # stack trace for later, which costs milliseconds and never leaves memory
    torch.default_generator.manual_seed(int(words[1]))
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(int(words[1]))
