"""``with_cp``: blocks that are computed again instead of remembered; nothing else changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from g2sd_mm.models import G2SDViT, G2SDViTDet, G2SDViTSeg, MaskedAutoencoder
from g2sd_mm.models.masking import random_masking

from ..helpers.toys import arch, decoder, images

SIZE = arch(16, 4)
SIDE = 32


def classify(with_cp: bool) -> tuple[nn.Module, Callable[[], Tensor]]:
    model = G2SDViT(SIZE, SIDE, drop_path_rate=0.5, with_cp=with_cp)
    return model, lambda: model(images())[0]


def detect(with_cp: bool) -> tuple[nn.Module, Callable[[], Tensor]]:
    model = G2SDViTDet(
        SIZE, SIDE, SIDE, drop_path_rate=0.5, window_size=3, global_blocks=(3,), with_cp=with_cp
    )
    return model, lambda: model(images())[0]


def segment(with_cp: bool) -> tuple[nn.Module, Callable[[], Tensor]]:
    model = G2SDViTSeg(
        SIZE, SIDE, drop_path_rate=0.5, out_indices=(0, 1, 2, 3), with_cp=with_cp
    )
    return model, lambda: torch.stack(model(images()))


def rebuild(with_cp: bool) -> tuple[nn.Module, Callable[[], Tensor]]:
    model = MaskedAutoencoder(SIZE, decoder(12, 4), SIDE, with_cp=with_cp)
    masking = random_masking(torch.rand(2, 16, generator=torch.Generator().manual_seed(0)), 0.5)
    return model, lambda: model(images(), masking)


def backward(make: Callable, with_cp: bool, training: bool = True) -> tuple[int, list[Tensor]]:
    """Elements that were kept for the backward pass, and the gradients."""
    torch.manual_seed(0)
    model, forward = make(with_cp)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    model.train(training)
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        if not tensor.is_leaf:
            kept.append(tensor.numel())
        return tensor

    torch.manual_seed(1)  # of drop path
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = forward().square().mean()
    loss.backward()
    return sum(kept), [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize('make', [classify, detect, segment, rebuild])
def test_gradients_stay_and_activations_go(make):
    (much, plain), (little, recomputed) = backward(make, False), backward(make, True)
    assert little < much / 2
    for own, other in zip(recomputed, plain, strict=True):
        torch.testing.assert_close(own, other)


def test_a_network_in_evaluation_mode_keeps_nothing_to_compute_again():
    assert backward(classify, True, training=False)[0] == backward(
        classify, False, training=False)[0]
