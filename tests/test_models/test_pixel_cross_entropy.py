"""The frugal cross-entropy is mmseg's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor

from g2sd_mm.models.pixel_cross_entropy import PixelCrossEntropyLoss, pixel_cross_entropy

IGNORED = 255


def maps(dtype: torch.dtype = torch.float32, classes: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, classes, 5, 6, generator=generator)
    target = torch.randint(classes, (2, 5, 6), generator=generator)
    target[0, :2], target[1, 4, 4] = IGNORED, IGNORED
    return logits.to(dtype).requires_grad_(), target


@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('without_ignored', [False, True])
def test_value_and_gradient_are_those_of_mmseg(weighted, without_ignored):
    from mmseg.models.losses import CrossEntropyLoss

    found = []
    for loss in (
        PixelCrossEntropyLoss(loss_weight=0.4, avg_non_ignore=without_ignored),
        CrossEntropyLoss(loss_weight=0.4, avg_non_ignore=without_ignored),
    ):
        logits, target = maps(torch.float64)
        weight = (torch.arange(60) / 16).view(2, 5, 6) if weighted else None  # exact in float32
        value = loss(logits, target, weight=weight, ignore_index=IGNORED)
        (2 * value).backward()
        found.append((value.detach(), logits.grad))
    # mmseg divides by the number of pixels and torch.finfo(float32).eps
    torch.testing.assert_close(found[0], found[1], rtol=1e-8, atol=1e-12)
    assert found[0][0] > 0


def test_ignored_pixels_have_neither_loss_nor_gradient():
    logits, target = maps()
    losses = pixel_cross_entropy(logits, target, IGNORED)
    losses.sum().backward()
    ignored = target == IGNORED
    assert losses[ignored].abs().max() == 0 and losses[~ignored].min() > 0
    assert logits.grad.movedim(1, -1)[ignored].abs().max() == 0
    assert logits.grad.movedim(1, -1)[~ignored].abs().amin(0).min() > 0


def test_half_precision_is_computed_in_float32():
    logits, target = maps(torch.bfloat16)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = pixel_cross_entropy(logits, target, IGNORED)
    losses.sum().backward()
    expected = F.cross_entropy(logits.float(), target, reduction='none', ignore_index=IGNORED)
    assert losses.dtype == torch.float32 and logits.grad.dtype == torch.bfloat16
    torch.testing.assert_close(losses, expected)


def test_without_a_gradient_nothing_is_kept():
    logits, target = maps()
    losses = pixel_cross_entropy(logits.detach(), target, IGNORED)
    assert not losses.requires_grad
    torch.testing.assert_close(
        losses, F.cross_entropy(logits, target, reduction='none', ignore_index=IGNORED).detach()
    )


def test_one_map_is_kept_and_a_second_backward_pass_is_refused():
    logits, target = maps()
    kept = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        total = pixel_cross_entropy(logits, target, IGNORED).sum()
    assert kept == [logits.numel()]
    logits, target = maps()
    total = pixel_cross_entropy(logits, target, IGNORED).sum()
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match='modified by an inplace operation'):
        total.backward()


def test_it_is_registered():
    loss = MODELS.build(dict(type='PixelCrossEntropyLoss', loss_weight=2.0))
    logits, target = maps()
    expected = F.cross_entropy(logits, target, reduction='sum', ignore_index=IGNORED)
    torch.testing.assert_close(loss(logits, target), 2 * expected / target.numel())
