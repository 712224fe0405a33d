"""Read a golden file and compare with it, at the tolerances that its README states."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

OUTPUT_ATOL = 2e-6  # of outputs and features, run in float64
LOSS_RTOL = 1e-7
GRADIENT_RTOL = 1e-5  # largest error over largest value


class Golden:
    """Arrays of one ``.npz`` file as float64 tensors (integers stay), and its ``meta``."""

    def __init__(self, path: Path) -> None:
        self._arrays = np.load(path, allow_pickle=False)
        self.names = [name for name in self._arrays.files if name != 'meta_json']
        self.meta = json.loads(str(self._arrays['meta_json']))

    def __getitem__(self, name: str) -> Tensor:
        tensor = torch.from_numpy(self._arrays[name])
        return tensor.double() if tensor.is_floating_point() else tensor

    def below(self, prefix: str) -> dict[str, Tensor]:
        """All tensors whose name starts with ``prefix``, without it."""
        return {n[len(prefix) :]: self[n] for n in self.names if n.startswith(prefix)}


def check_output(ours: Tensor, golden: Tensor, what: str, atol: float = OUTPUT_ATOL) -> None:
    assert ours.shape == golden.shape, f'{what}: shape {tuple(ours.shape)}'
    error = (ours.detach().double() - golden).abs().max().item()
    assert error <= atol, f'{what}: off by {error:.2e}, allowed {atol:.0e}'


def check_exact(ours: Tensor, golden: Tensor, what: str) -> None:
    assert torch.equal(ours.detach().double(), golden.double()), f'{what} differs'


def check_loss(ours: Tensor, golden: Tensor, what: str) -> None:
    error = abs(ours.item() - golden.item()) / max(abs(golden.item()), 1e-300)
    assert error <= LOSS_RTOL, f'{what}: {ours.item()!r} for {golden.item()!r}, off by {error:.2e}'


def check_gradient(ours: Tensor | None, golden: Tensor, what: str) -> None:
    assert ours is not None, f'{what}: no gradient'
    error = ((ours - golden).abs().max() / golden.abs().max().clamp(min=1e-300)).item()
    assert error < GRADIENT_RTOL, f'{what}: relative error {error:.2e}'


def check_gradients(module: nn.Module, golden: dict[str, Tensor], what: str) -> None:
    """Every golden gradient, by the name of the parameter in ``module``."""
    own = dict(module.named_parameters())
    assert golden, f'{what}: the file holds no gradients'
    for name, gradient in golden.items():
        check_gradient(own[name].grad, gradient, f'{what} of {name}')
