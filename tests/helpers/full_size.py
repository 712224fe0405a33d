"""The deterministic fill and the summaries of the full-size reference numbers.

Every network of the published release is too large to keep a copy of its weights, so reference
numbers were made with weights that anyone can compute: a hash of a parameter's published name and
of the element's number.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

SAMPLES = Path(__file__).parents[1] / 'data' / 'golden' / 'full_size_samples.json'
ATOL = 1e-3  # of deep networks in float32


def samples(block: str) -> dict:
    """Reference numbers of one network, e.g. ``'seg_tiny'``."""
    return json.loads(SAMPLES.read_text())[block]


def noise(key: str, shape: Iterable[int]) -> Tensor:
    """Values in [-0.5, 0.5) that follow from ``key`` alone, float32 of the given shape."""
    shape = tuple(shape)
    with np.errstate(over='ignore'):
        x = np.arange(math.prod(shape), dtype=np.uint32) * np.uint32(2654435761)
        x += np.uint32(zlib.crc32(key.encode()))
        for shift, factor in ((16, 2246822519), (13, 3266489917), (16, 1)):
            x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    return torch.from_numpy((x / 2.0**32 - 0.5).astype(np.float32)).reshape(shape)


def fill(
    model: nn.Module, official: Callable[[str], str], keep: Iterable[str] = ()
) -> None:
    """Give every floating-point entry of the state dict its reference value, in place.

    Args:
        model: the network.
        official: our name of an entry -> its published name, which seeds the values.
        keep: our names of entries that stay as they are.
    """
    keep = set(keep)
    for name, tensor in model.state_dict().items():
        if name in keep or not tensor.is_floating_point():
            continue
        if name.endswith('running_mean'):
            tensor.zero_()
        elif name.endswith('running_var'):
            tensor.fill_(1.0)
        else:
            gain = (tensor.ndim == 1 and name.endswith('.weight')) or 'gamma_' in name
            tensor.copy_(0.12 * noise(official(name), tensor.shape) + float(gain))


def check_summary(tensor: Tensor, expected: dict, what: str, atol: float = ATOL) -> None:
    """Shape, mean, population deviation and the sampled elements of one tensor."""
    assert list(tensor.shape) == expected['shape'], f'{what}: shape {tuple(tensor.shape)}'
    values = tensor.detach().double().flatten()
    numbers = {
        'mean': (values.mean(), expected['mean']),
        'std': (values.std(unbiased=False), expected['std']),
        **{f'element {i}': (values[int(i)], v) for i, v in expected['at'].items()},
    }
    for name, (own, wanted) in numbers.items():
        error = abs(float(own) - wanted)
        assert error <= atol, f'{what}, {name}: {float(own):.6f} for {wanted:.6f}'
