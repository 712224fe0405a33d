"""Losses on logits and maps against plain NumPy formulas in float64, with their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from g2sd_mm.distill.losses.classification import (
    hard_distillation_loss,
    nkd_loss,
    soft_distillation_loss,
)
from g2sd_mm.distill.losses.detection import feature_richness_loss, objectness_distillation_loss
from g2sd_mm.distill.losses.relation import token_similarity_loss
from g2sd_mm.distill.losses.segmentation import channel_wise_divergence

from ..helpers.gradients import check, normal, softmax

B, K = 3, 4
T = torch.from_numpy


def test_hard_labels():
    other = normal(B, K, seed=1)

    def plain(x):
        return -np.log(softmax(x)[np.arange(B), other.argmax(1)]).mean()

    check(lambda x: hard_distillation_loss(x, T(other)), plain, [normal(B, K)])


@pytest.mark.parametrize('reduction', ['batchmean', 'mean'])
@pytest.mark.parametrize(('tau', 'teacher_tau'), [(1.0, None), (3.0, None), (2.0, 0.5)])
def test_soft_labels(tau, teacher_tau, reduction):
    other, theirs = normal(B, K, seed=1), teacher_tau or tau
    parts = {'batchmean': B, 'mean': B * K}[reduction]

    def plain(x):
        p, q = softmax(other / theirs), softmax(x / tau)
        return tau * theirs * (p * np.log(p / q)).sum() / parts

    check(
        lambda x: soft_distillation_loss(x, T(other), tau, teacher_tau, reduction),
        plain, [normal(B, K)],
    )  # fmt: skip
    if teacher_tau is None:
        module = MODELS.build(
            dict(type='SoftDistillationLoss', tau=tau, loss_weight=2.0, reduction=reduction)
        )
        assert module(T(normal(B, K)), T(other)).item() == pytest.approx(2 * plain(normal(B, K)))


def test_unknown_reductions_are_told_the_known_ones():
    with pytest.raises(ValueError, match="reduction='median' is none of mean, sum, batchmean"):
        MODELS.build(dict(type='SoftDistillationLoss', reduction='median'))


def test_soft_labels_of_temperatures_that_are_adapted():
    module = MODELS.build(dict(type='MetaSoftDistillationLoss', tau=2.0)).double()
    student, teacher = T(normal(B, K)), T(normal(B, K, seed=1))
    expected = soft_distillation_loss(student, teacher, 2.0)
    assert module(student, teacher).item() == pytest.approx(expected.item(), rel=1e-6)
    other = torch.tensor([1.0, 3.0], dtype=torch.float64)
    expected = soft_distillation_loss(student, teacher, 1.0, 3.0)
    assert module(student, teacher, other.log()).item() == pytest.approx(expected.item())
    assert not list(module.parameters()) and set(module.state_dict()) == {'log_tau'}


def test_nkd():
    other, labels = normal(B, K, seed=1), np.array([1, 3, 0])

    def plain(x):
        total = 0.0
        for row, theirs, g in zip(x, other, labels, strict=True):
            total -= softmax(theirs)[g] * np.log(softmax(row)[g])
            mine, hers = (softmax(np.delete(z, g) / 2.0) for z in (row, theirs))
            total -= 0.5 * 4.0 * (hers * np.log(mine)).sum()
        return total / B

    check(lambda x: nkd_loss(x, T(other), T(labels), 0.5, 2.0), plain, [normal(B, K)])


def test_similarity_of_tokens():
    other = normal(2, 5, 3, seed=1)

    def rows(x):
        x = x / np.linalg.norm(x, axis=-1, keepdims=True)
        return softmax(x @ x.transpose(0, 2, 1) / 0.1)

    def plain(x):
        return (rows(other) * np.log(rows(other) / rows(x))).sum(-1).mean()

    check(lambda x: token_similarity_loss(x, T(other), 0.1), plain, [normal(2, 5, 4)])


def test_where_channels_are_strong():
    other = normal(2, 3, 2, 4, seed=1)

    def plain(x):
        p, q = (softmax(z.reshape(2, 3, 8) / 4.0) for z in (other, x))
        return -16.0 * (p * np.log(q)).sum() / 6

    check(lambda x: channel_wise_divergence(x, T(other), 4.0), plain, [normal(2, 3, 2, 4)])


def levels(channels, seed):
    return [normal(2, channels, 4, 4, seed=seed), normal(2, channels, 2, 2, seed=seed + 1)]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_rich_features():
    theirs, objects = levels(3, 10), levels(2, 20)

    def plain(*own):
        total = 0.0
        for s, t, o in zip(own, theirs, objects, strict=True):
            m = sigmoid(o).max(1)
            total += (m * ((t - s) ** 2).sum(1)).sum() / m.sum()
        return total

    check(lambda *own: feature_richness_loss(own, list(map(T, theirs)), list(map(T, objects))),
          plain, levels(3, 0))  # fmt: skip


def test_objectness():
    theirs = levels(2, 20)

    def plain(*own):
        total = 0.0
        for s, t in zip(own, theirs, strict=True):
            p, q, m = sigmoid(t), sigmoid(s), sigmoid(t).max(1)
            entropy = -(p * np.log(q) + (1 - p) * np.log(1 - q)).sum(1)
            total += (m * entropy).sum() / m.sum()
        return total

    check(
        lambda *own: objectness_distillation_loss(own, list(map(T, theirs))), plain, levels(2, 0)
    )
