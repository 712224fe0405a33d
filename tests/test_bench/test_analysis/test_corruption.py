"""Corrupted images: repeatable, stronger by severity, counted right."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from g2sd_mm.bench.analysis import ANALYSES, corruption
from g2sd_mm.bench.analysis.corruption import (
    KINDS,
    corrupted,
    known_kinds,
    robustness,
)
from g2sd_mm.bench.analysis.network import logits
from g2sd_mm.errors import UserError

from .networks import pictures

IMAGES = pictures(4)


def test_imagenet_cs_kinds_are_known():
    assert len(known_kinds()) == 17
    assert set(KINDS) <= set(known_kinds()[:13])


@pytest.mark.parametrize('kind', known_kinds())
def test_images_change_and_the_same_way_every_time(kind):
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    one, other = corrupted(IMAGES, kind, 3), corrupted(IMAGES, kind, 3)
    assert one.dtype == torch.uint8 and one.shape == IMAGES.shape
    assert torch.equal(one, other)
    assert not torch.equal(one, IMAGES)
    assert (np.random.get_state()[1] == before).all()  # nobody else's numbers are touched
    # an image is treated alike whatever stands beside it
    assert torch.equal(corrupted(IMAGES[:2], kind, 3), one[:2])


def test_severity_is_strength():
    errors = [
        (corrupted(IMAGES, 'gaussian_noise', severity).float() - IMAGES).abs().mean().item()
        for severity in (1, 3, 5)
    ]
    assert errors == sorted(errors) and errors[2] > 2 * errors[0]


def test_channels_stay_where_they_are():
    red = torch.zeros(1, 3, 40, 40, dtype=torch.uint8)
    red[:, 0] = 200
    darker = corrupted(red, 'contrast', 1)[0].float().mean(dim=(1, 2))
    assert darker[0] > darker[1] + 20 and darker[1] == pytest.approx(darker[2].item())


def test_unknown_kinds_and_small_images_are_refused():
    with pytest.raises(UserError, match="no corruption 'rain': known are gaussian_noise, "):
        corrupted(IMAGES, 'rain', 1)
    with pytest.raises(UserError, match='need images of 32 px, got 16'):
        corrupted(pictures(1, 16), 'fog', 1)


def test_accuracy_is_that_on_the_corrupted_images(networks, monkeypatch):
    monkeypatch.setattr(corruption, 'KINDS', ('shot_noise', 'contrast'))
    monkeypatch.setattr(corruption, 'SEVERITIES', (1, 5))
    seen = []
    labels = logits(networks['teacher'], IMAGES).argmax(dim=1)
    found = robustness(networks, IMAGES, labels, seen.append)
    assert found['clean']['teacher'] == 100
    for kind, values in found['accuracy']['teacher'].items():
        expected = [
            100 * (logits(networks['teacher'], corrupted(IMAGES, kind, s)).argmax(1) == labels)
            .double().mean().item()
            for s in (1, 5)
        ]  # fmt: skip
        assert values == pytest.approx(expected)
    every = [v for values in found['accuracy']['teacher'].values() for v in values]
    assert found['mean']['teacher'] == pytest.approx(sum(every) / 4)
    assert sum(seen) == 4 * ANALYSES['corruption'].passes(2)
