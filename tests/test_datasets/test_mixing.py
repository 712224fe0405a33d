"""Mixup and CutMix with the flipped batch for a partner."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmpretrain.models.utils.batch_augments import RandomBatchAugment

from g2sd_mm.datasets import mixing
from g2sd_mm.datasets.mixing import FlipCutMix, FlipMixup

from ..helpers.toys import images

SCORES = torch.eye(4)


@pytest.fixture
def lam(monkeypatch):
    monkeypatch.setattr(mixing.np.random, 'beta', lambda a, b: 0.7)
    return 0.7


def test_mixup_blends_with_the_flipped_batch(lam):
    pixels = images(4)
    mixed, scores = FlipMixup(alpha=0.8).mix(pixels, SCORES)
    for i in range(4):
        assert torch.allclose(mixed[i], 0.7 * pixels[i] + 0.3 * pixels[3 - i])
        assert torch.allclose(scores[i], 0.7 * SCORES[i] + 0.3 * SCORES[3 - i])


def test_cutmix_pastes_a_box_of_the_flipped_batch(lam):
    pixels = images(4)
    mixed, _ = FlipCutMix(alpha=1.0).mix(pixels, SCORES)
    pasted = (mixed != pixels).any(1)
    assert torch.equal(pasted, pasted[:1].expand_as(pasted))  # one box for the batch
    assert pasted[0].any()
    rows, columns = pasted[0].any(1).nonzero(), pasted[0].any(0).nonzero()
    box = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
    assert pasted[0][box].all()
    inside = (slice(None), *box)
    assert torch.equal(mixed[0][inside], pixels[3][inside])


def test_cutmix_weighs_the_targets_by_the_area():
    pixels = images(4)
    for seed in range(20):  # boxes at the border are cut off
        np.random.seed(seed)
        mixed, scores = FlipCutMix(alpha=1.0).mix(pixels, SCORES)
        area = (mixed[0] != pixels[0]).any(0).float().mean().item()
        assert scores[0, 3].item() == pytest.approx(area, abs=1e-6)
        assert scores[0, 0].item() == pytest.approx(1 - area, abs=1e-6)


def test_the_given_batch_is_not_changed():
    pixels = images(4)
    before = pixels.clone()
    for augment in (FlipMixup(alpha=0.8), FlipCutMix(alpha=1.0)):
        augment.mix(pixels, SCORES)
        assert torch.equal(pixels, before)


def test_lambda_is_drawn_from_the_beta_distribution():
    np.random.seed(0)
    drawn = [
        FlipMixup(alpha=0.8).mix(images(4)[:, :, :1, :1], SCORES)[1][0, 0].item()
        for _ in range(2000)
    ]
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.03)
    assert np.var(drawn) == pytest.approx(1 / (4 * (2 * 0.8 + 1)), abs=0.01)  # of Beta(0.8, 0.8)


def test_configs_use_each_for_half_of_the_batches():
    augment = RandomBatchAugment(
        [dict(type='FlipMixup', alpha=0.8), dict(type='FlipCutMix', alpha=1.0)]
    )
    assert [type(a) for a in augment.augments] == [FlipMixup, FlipCutMix]
    np.random.seed(0)
    cut = 0
    for _ in range(400):
        mixed, _ = augment(images(4), SCORES)
        cut += bool((mixed == images(4)).any())
    assert 0.4 < cut / 400 < 0.6
