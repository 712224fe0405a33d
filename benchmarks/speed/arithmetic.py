"""How much a step has to compute, and how much the device can: together, its utilisation."""

from __future__ import annotations

import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..reference import plain_attention
from .batches import random_batch
from .build import synchronise
from .formulation import Formulation
from .stages import Stage

_IMAGES = 2  # batch norm needs more than one
_MATRIX = {'cpu': 2048, 'cuda': 8192}
_TRIES = 7


def step_flops(stage: Stage, size: str = 'full', device: str = 'cpu') -> float:
    """Operations that one image costs in a training step, a multiply-add counted as two.

    Counted on a real step of this project's formulation, with attention written out so that the
    counter sees its products and nothing that a kernel recomputes or pads. Products and
    convolutions count; softmaxes, norms and the optimizer, a hundredth of it all, do not.
    """
    formulation = Formulation(stage, size, device)
    for network in (formulation.model, *formulation.model.frozen_networks):
        plain_attention(network)
    ready = formulation.prepare('step', random_batch(stage, _IMAGES, size))
    with FlopCounterMode(display=False) as counter:
        formulation.run('step', ready)
    return counter.get_total_flops() / _IMAGES


def matmul_peak(dtype: str, device: str = 'cpu', side: int | None = None) -> float:
    """Operations a second of the fastest of a few large matrix products.

    The ceiling that utilisation is measured against: same device, threads and precision.
    """
    side = side or _MATRIX['cuda' if device.startswith('cuda') else 'cpu']
    a, b = (torch.randn(side, side, device=device).to(getattr(torch, dtype)) for _ in range(2))
    seconds = []
    for _ in range(_TRIES):
        synchronise(device)
        started = time.perf_counter()
        a @ b
        synchronise(device)
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / min(seconds)
