"""The depth head and the scale-invariant loss, against NumPy and mmseg."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from mmseg.models.losses.silog_loss import silog_loss

from g2sd_mm.errors import ConfigError
from g2sd_mm.models.depth import (
    DPTDepthHead,
    LogDepth,
    ScaleInvariantLogLoss,
    scale_invariant_log_loss,
)


def maps(batch: int = 3, holes: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Metres as float64: predicted, and true with pixels that are not known."""
    generator = torch.Generator().manual_seed(0)
    predicted, truth = (
        0.5 + 9 * torch.rand(batch, 1, 6, 7, generator=generator, dtype=torch.float64)
        for _ in range(2)
    )
    if holes:
        truth[torch.rand(truth.shape, generator=generator) < 0.3] = 0
    return predicted, truth


def by_numpy(predicted: np.ndarray, truth: np.ndarray, focus: float) -> tuple[float, np.ndarray]:
    """The formula and its derivative, image by image and pixel by pixel."""
    values, gradient = [], np.zeros_like(predicted)
    for i in range(len(predicted)):
        known = truth[i] > 0
        if not known.any():
            continue
        d = np.log(predicted[i][known]) - np.log(truth[i][known])
        root = math.sqrt(np.mean(d**2) - focus * np.mean(d) ** 2)
        values.append(root)
        own = (d - focus * np.mean(d)) / (len(d) * root * predicted[i][known])
        gradient[i][known] = own
    return float(np.mean(values)), gradient / len(values)


@pytest.mark.parametrize('focus', [0.0, 0.5, 0.85, 1.0])
def test_loss_and_gradient_agree_with_numpy(focus):
    predicted, truth = maps()
    truth[1] = 0  # an image of which nothing is known
    predicted.requires_grad_()
    loss = scale_invariant_log_loss(predicted, truth, focus)
    loss.backward()
    value, gradient = by_numpy(predicted.detach().numpy(), truth.numpy(), focus)
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(value, abs=1e-12)
    np.testing.assert_allclose(predicted.grad.numpy(), gradient, atol=1e-12)


def test_loss_agrees_with_mmseg_where_that_is_defined():
    predicted, truth = maps()
    wanted = silog_loss(predicted, truth, eps=1e-6)
    assert scale_invariant_log_loss(predicted, truth).item() == pytest.approx(wanted.item(), 1e-9)


@pytest.mark.parametrize('known', [False, True], ids=['nothing known', 'all right'])
def test_gradient_is_a_number_where_the_root_has_none(known):
    predicted, truth = maps(holes=False)
    truth = predicted.clone() if known else torch.zeros_like(truth)
    predicted.requires_grad_()
    loss = scale_invariant_log_loss(predicted, truth)
    loss.backward()
    assert loss.item() <= 1e-6
    assert torch.isfinite(predicted.grad).all()


def test_a_prediction_that_is_no_number_shows_in_the_loss():
    predicted, truth = maps(holes=False)
    predicted[0, 0, 0, 0] = math.nan
    assert math.isnan(scale_invariant_log_loss(predicted, truth).item())


def test_a_scale_that_is_off_counts_by_the_focus():
    _, truth = maps(holes=False)
    assert scale_invariant_log_loss(2 * truth, truth, 1.0).item() < 1e-5
    assert scale_invariant_log_loss(2 * truth, truth, 0.0).item() == pytest.approx(math.log(2))
    weighted = ScaleInvariantLogLoss(0.0, 3.0)(2 * truth, truth)
    assert weighted.item() == pytest.approx(3 * math.log(2))


def test_half_precision_is_widened():
    predicted, truth = maps()
    loss = scale_invariant_log_loss(predicted.bfloat16(), truth.float())
    assert loss.dtype == torch.float32


def head(**changes) -> DPTDepthHead:
    torch.manual_seed(0)
    options = dict(
        type='DPTDepthHead', embed_dims=12, min_depth=0.5, max_depth=20.0, channels=8,
        post_process_channels=(4, 6, 8, 10), norm_cfg=dict(type='BN'),
    )  # fmt: skip
    return MODELS.build({**options, **changes, '_scope_': 'mmseg'})


def test_depth_starts_in_the_middle_and_stays_in_range():
    made = head().eval()
    levels = [torch.randn(2, 12, 4, 6) for _ in range(4)]
    depth = made(levels)
    assert depth.shape == (2, 1, 32, 48)  # twice as fine as the finest scale, stride 4 of a patch
    torch.nn.init.constant_(made.conv_seg.bias, 0.0)
    torch.nn.init.zeros_(made.conv_seg.weight)
    torch.testing.assert_close(made(levels), torch.full_like(depth, math.sqrt(0.5 * 20)))
    for bias, end in ((-100.0, 0.5), (100.0, 20.0)):
        torch.nn.init.constant_(made.conv_seg.bias, bias)
        torch.testing.assert_close(made(levels), torch.full_like(depth, end))


def test_every_level_and_the_log_depth_matter():
    made = head().eval()
    levels = [torch.randn(1, 12, 4, 4, requires_grad=True) for _ in range(4)]
    seen = []
    made.log_depth.register_forward_hook(lambda module, inputs, output: seen.append(output))
    depth = made(levels)
    depth.sum().backward()
    torch.testing.assert_close(seen[0].exp(), depth)
    assert all(level.grad.abs().sum() > 0 for level in levels)


def test_log_depth_of_half_precision_is_wide():
    assert LogDepth(0.1, 10)(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize(
    'bad', [dict(min_depth=0.0), dict(min_depth=30.0), dict(max_depth=math.inf)]
)
def test_a_range_that_there_cannot_be(bad):
    with pytest.raises(ConfigError, match='min_depth'):
        head(**bad)
    with pytest.raises(ConfigError, match='variance_focus'):
        ScaleInvariantLogLoss(1.5)
