"""Distillation of depth: the logarithm of depth, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from g2sd_mm.distill.losses.segmentation import LogDepthLoss, log_depth_difference


def logs(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_value_and_gradient_agree_with_numpy():
    student, teacher = logs(2, 1, 5, 4).requires_grad_(), logs(2, 1, 5, 4, seed=1)
    loss = LogDepthLoss(loss_weight=2.0)(student, teacher)
    loss.backward()
    difference = student.detach().numpy() - teacher.numpy()
    assert loss.item() == pytest.approx(2 * np.abs(difference).mean(), abs=1e-12)
    np.testing.assert_allclose(student.grad, 2 * np.sign(difference) / difference.size, atol=1e-12)


def test_the_coarser_map_is_resized():
    student, teacher = logs(1, 1, 4, 4), logs(1, 1, 8, 8, seed=1)
    finer = F.interpolate(student, (8, 8), mode='bilinear', align_corners=False)
    assert torch.equal(log_depth_difference(student, teacher), (finer - teacher).abs().mean())
    assert log_depth_difference(teacher, teacher) == 0


def test_maps_of_other_channels_are_refused():
    with pytest.raises(ValueError, match='log_depth'):
        log_depth_difference(logs(1, 1, 4, 4), logs(1, 3, 4, 4))
