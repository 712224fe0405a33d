"""Losses and their gradients against plain formulas: NumPy, float64, finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

_STEP = 1e-6


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal noise in float64."""
    return np.random.default_rng(seed).normal(size=shape)


def softmax(x: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def check(ours: Callable, plain: Callable, arrays: Sequence[np.ndarray], rel: float = 1e-5) -> None:
    """``ours`` of tensors is ``plain`` of arrays; its gradients are central differences of that."""
    tensors = [torch.from_numpy(x.copy()).requires_grad_() for x in arrays]
    value = ours(*tensors)
    assert value.dtype == torch.float64 and value.ndim == 0
    assert value.item() == pytest.approx(plain(*arrays), rel=1e-9)
    gradients = torch.autograd.grad(value, tensors, allow_unused=True)
    for number, (x, gradient) in enumerate(zip(arrays, gradients, strict=True)):
        expected = differences(plain, arrays, number)
        found = np.zeros_like(x) if gradient is None else gradient.numpy()
        assert np.allclose(found, expected, rtol=rel, atol=1e-7), number


def differences(plain: Callable, arrays: Sequence[np.ndarray], number: int) -> np.ndarray:
    """Central differences of a function by one of its arrays."""
    x, found = arrays[number], np.zeros_like(arrays[number])
    for place in np.ndindex(x.shape):
        values = []
        for sign in (1, -1):
            moved = x.copy()
            moved[place] += sign * _STEP
            values.append(plain(*arrays[:number], moved, *arrays[number + 1 :]))
        found[place] = (values[0] - values[1]) / (2 * _STEP)
    return found
