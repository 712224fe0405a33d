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
    torch.manual_seed(int(words[1]))
