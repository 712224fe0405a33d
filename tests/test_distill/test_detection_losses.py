"""Losses of a distilled detector, and the adapters before them."""

from __future__ import annotations

import pytest
import torch

from g2sd_mm.distill.adapters import LevelAdapters
from g2sd_mm.distill.losses.detection import (
    FeatureRichnessLoss,
    ObjectnessDistillationLoss,
    feature_richness,
    feature_richness_loss,
    objectness_distillation_loss,
)


def wave(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    count = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return (2 * torch.sin(0.7 * count + 1.3 * seed)).reshape(shape)


def levels(channels: int, *seeds: int) -> list[torch.Tensor]:
    """Two levels, 4x4 and 2x2, of two images."""
    return [wave((2, channels, s, s), seed) for s, seed in zip((4, 2), seeds, strict=True)]


def test_the_losses_have_the_published_values():
    teacher, student = levels(6, 5, 6), levels(6, 7, 8)
    taught, own = levels(3, 9, 10), levels(3, 11, 12)
    feature = feature_richness_loss(student, teacher, taught)
    objectness = objectness_distillation_loss(own, taught)
    assert feature.item() == pytest.approx(90.881950, abs=1e-5)
    assert objectness.item() == pytest.approx(7.610038, abs=1e-5)
    weighted = FeatureRichnessLoss(0.001)(student=student, teacher=teacher, objectness=taught)
    assert weighted.item() == pytest.approx(0.090881950, abs=1e-8)
    assert ObjectnessDistillationLoss(0.1)(student=own, teacher=taught).item() == pytest.approx(
        0.7610038, abs=1e-6
    )


def test_richness_is_the_surest_anchor():
    logits = torch.tensor([0.0, 2.0, -1.0]).reshape(1, 3, 1, 1)
    assert feature_richness(logits).item() == pytest.approx(torch.tensor(2.0).sigmoid().item())


def test_a_teacher_that_sees_nothing_does_no_harm():
    nothing = [torch.full((2, 3, 4, 4), -200.0)]  # sigmoid underflows to 0
    student = [torch.randn(2, 6, 4, 4, requires_grad=True)]
    own = [torch.randn(2, 3, 4, 4, requires_grad=True)]
    loss = feature_richness_loss(student, [torch.randn(2, 6, 4, 4)], nothing)
    loss = loss + objectness_distillation_loss(own, nothing)
    loss.backward()
    assert loss.item() == 0
    assert student[0].grad.isfinite().all()


def test_large_logits_stay_finite():
    own = [torch.full((1, 3, 2, 2), 500.0, requires_grad=True)]
    loss = objectness_distillation_loss(own, [torch.full((1, 3, 2, 2), -1.0)])
    loss.backward()
    assert loss.isfinite()
    assert own[0].grad.isfinite().all()


def test_pyramids_must_agree():
    with pytest.raises(ValueError, match='same pyramid'):
        feature_richness_loss(levels(6, 1, 2), levels(6, 1, 2)[::-1], levels(3, 1, 2))
    with pytest.raises(ValueError, match='same pyramid'):
        objectness_distillation_loss(levels(3, 1, 2), levels(3, 1, 2)[:1])


def test_adapters_map_level_by_level():
    adapters = LevelAdapters(4, out_channels=6, num_levels=2)
    adapted = adapters([x.float() for x in levels(4, 1, 2)])
    assert [tuple(x.shape) for x in adapted] == [(2, 6, 4, 4), (2, 6, 2, 2)]
    assert set(adapters.state_dict()) == {
        f'conv.{i}.{part}' for i in range(2) for part in ('weight', 'bias')
    }
    assert sum(p.numel() for p in LevelAdapters().parameters()) == 2_950_400
    with pytest.raises(ValueError, match='num_levels=1'):
        adapters([torch.zeros(1, 4, 2, 2)])
