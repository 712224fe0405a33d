"""One way to seed everything from a tuple of numbers."""

from __future__ import annotations

import random

import numpy as np
import torch


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
