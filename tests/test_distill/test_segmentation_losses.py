"""Losses on maps of logits: the values that were written down, and their variants."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS

from g2sd_mm.distill.losses.segmentation import (
    ChannelWiseDivergence,
    PixelwiseKLDivergence,
    channel_wise_divergence,
    pixelwise_kl_divergence,
)


def ripple(seed: float, shape=(2, 3, 4, 5)) -> torch.Tensor:
    """Element i is ``2 sin(0.7 i + 1.3 seed)``."""
    i = torch.arange(math.prod(shape), dtype=torch.float64)
    return (2 * torch.sin(0.7 * i + 1.3 * seed)).reshape(shape)


STUDENT, TEACHER = ripple(1), ripple(2)


@pytest.mark.parametrize(
    ('tau', 'weight', 'value'),
    [(1.0, 1.0, 3.449471), (1.0, 3.0, 10.348414), (4.0, 1.0, 48.407391)],
)
def test_channel_wise_divergence_reference_values(tau, weight, value):
    loss = ChannelWiseDivergence(tau, weight)
    assert loss(student=STUDENT, teacher=TEACHER).item() == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(('tau', 'value'), [(1.0, 0.280839), (4.0, 0.392070)])
def test_pixelwise_kl_reference_values(tau, value):
    loss = PixelwiseKLDivergence(tau)
    assert loss(student=STUDENT, teacher=TEACHER).item() == pytest.approx(value, abs=1e-6)


def test_default_weight_is_that_of_the_published_command_line():
    loss = MODELS.build(dict(type='ChannelWiseDivergence'))
    assert (loss.tau, loss.loss_weight) == (1.0, 3.0)


def test_value_at_best_is_the_entropy_of_the_teacher():
    entropy = channel_wise_divergence(TEACHER, TEACHER)
    assert entropy.item() == pytest.approx(2.421258, abs=1e-6)
    assert channel_wise_divergence(TEACHER, TEACHER, subtract_entropy=True).abs() < 1e-12
    flat = torch.zeros(1, 1, 128, 128)
    assert channel_wise_divergence(flat, flat).item() == pytest.approx(9.70, abs=0.01)


@pytest.mark.parametrize('tau', [1.0, 4.0])
def test_subtracting_the_entropy_changes_the_value_and_not_the_gradient(tau):
    results = []
    for subtract in (False, True):
        student = STUDENT.clone().requires_grad_()
        value = channel_wise_divergence(student, TEACHER, tau, subtract)
        value.backward()
        results.append((value.item(), student.grad))
    entropy = channel_wise_divergence(TEACHER, TEACHER, tau).item()
    assert results[0][0] - results[1][0] == pytest.approx(entropy)
    torch.testing.assert_close(results[0][1], results[1][1])


def test_reductions_differ_by_what_they_divide_by():
    total = pixelwise_kl_divergence(STUDENT, TEACHER, reduction='sum')
    mean = pixelwise_kl_divergence(STUDENT, TEACHER, reduction='mean')
    batch = pixelwise_kl_divergence(STUDENT, TEACHER, reduction='batchmean')
    assert total.item() == pytest.approx(mean.item() * 120) == pytest.approx(batch.item() * 2)


def test_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="'median' is none of mean, sum, batchmean"):
        PixelwiseKLDivergence(reduction='median')


@pytest.mark.parametrize('loss', [channel_wise_divergence, pixelwise_kl_divergence])
def test_maps_of_different_shape_are_refused_with_the_way_out(loss):
    with pytest.raises(ValueError, match=r'\(2, 3, 4, 5\).*\(2, 4, 4, 5\).*adapter on the tap'):
        loss(STUDENT, ripple(2, (2, 4, 4, 5)))
    with pytest.raises(ValueError, match='adapter on the tap'):  # tokens are no classes
        loss(STUDENT.flatten(2), TEACHER.flatten(2))


@pytest.mark.parametrize('loss', [channel_wise_divergence, pixelwise_kl_divergence])
def test_maps_of_two_resolutions_are_compared_at_the_finer(loss):
    """As if the coarse one had been resized beforehand, whosever it is."""
    coarse, fine = ripple(2, (2, 3, 4, 5)), ripple(1, (2, 3, 8, 10))
    resized = F.interpolate(coarse, (8, 10), mode='bilinear', align_corners=False)
    assert torch.equal(loss(coarse, fine), loss(resized, fine))
    assert torch.equal(loss(fine, coarse), loss(fine, resized))
