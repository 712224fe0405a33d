"""Losses of features, logits and relations; reference numbers are in ``tests/test_parity.py``."""

from __future__ import annotations

import math

import pytest
import torch
from mmengine.registry import MODELS

from g2sd_mm.distill.losses.classification import hard_distillation_loss, nkd_loss
from g2sd_mm.distill.losses.feature import smooth_l1_feature_loss
from g2sd_mm.distill.losses.relation import token_relation_loss
from g2sd_mm.distill.losses.standardisation import normalised_target


def wave(shape: tuple[int, ...], phase: float) -> torch.Tensor:
    """Element i is ``2 sin(0.7 i + 1.3 phase)``: the published checks' inputs."""
    i = torch.arange(math.prod(shape), dtype=torch.float64)
    return (2 * torch.sin(0.7 * i + 1.3 * phase)).reshape(shape)


def build(name: str, **options):
    return MODELS.build(dict(type=name, **options))


def test_feature_loss_is_the_published_number():
    predicted, target = wave((2, 7, 16), 3), 3 * wave((2, 7, 16), 4) + 0.5
    loss = smooth_l1_feature_loss(predicted, normalised_target(target))
    assert loss.item() == pytest.approx(0.561946, abs=1e-6)
    module = build('SmoothL1FeatureLoss', loss_weight=2.0)
    assert module(student=predicted, teacher=target).item() == pytest.approx(2 * loss.item())


def test_feature_loss_is_a_parabola_up_to_beta_and_then_a_line():
    student = torch.tensor([0.0, 1.0, 2.0, 5.0])
    losses = [smooth_l1_feature_loss(x, torch.zeros(())).item() for x in student]
    assert losses == pytest.approx([0.0, 0.25, 1.0, 4.0])


def test_the_best_constant_prediction_scores_a_quarter():
    target = normalised_target(torch.randn(50, 20, 64))
    assert smooth_l1_feature_loss(torch.zeros_like(target), target).item() == pytest.approx(
        0.247, abs=0.002
    )


def test_a_normalised_target_has_no_mean_and_unit_variance():
    target = normalised_target(5 * torch.randn(3, 4, 64) + 2)
    assert torch.allclose(target.mean(-1), torch.zeros(3, 4), atol=1e-5)
    assert torch.allclose(target.var(-1, unbiased=False), torch.ones(3, 4), atol=1e-4)


def test_normalisation_can_be_left_out():
    features = 3 * torch.randn(2, 4, 8)
    assert build('SmoothL1FeatureLoss', target='none')(features, features) == 0
    assert build('SmoothL1FeatureLoss')(features, features) > 0


def test_hard_distillation_looks_at_the_teachers_decision_only():
    student, teacher = torch.randn(4, 5), torch.randn(4, 5)
    loss = hard_distillation_loss(student, teacher)
    assert torch.equal(hard_distillation_loss(student, 100 * teacher), loss)
    labels = teacher.argmax(1)
    expected = -student.log_softmax(1)[torch.arange(4), labels].mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert build('HardDistillationLoss', loss_weight=3.0)(student, teacher) == 3 * loss


def test_stage_two_on_classes_is_the_published_number():
    head, dist, teacher = (wave((4, 5), s) for s in (13, 16, 14))
    target = wave((4, 5), 15).softmax(1)
    task = -(target * head.log_softmax(1)).sum(1).mean()
    distillation = hard_distillation_loss(dist, teacher)
    assert task.item() == pytest.approx(3.627545, abs=1e-6)
    assert distillation.item() == pytest.approx(3.293350, abs=1e-6)


def test_nkd_is_the_published_number():
    labels = torch.tensor([0, 3, 2, 4])
    student, teacher = wave((4, 5), 13), wave((4, 5), 14)
    loss = nkd_loss(student, teacher, labels)
    assert loss.item() == pytest.approx(2.486376, abs=1e-6)
    soft = torch.nn.functional.one_hot(labels, 5).double()
    assert torch.equal(nkd_loss(student, teacher, soft), loss)
    assert torch.equal(build('NKDLoss')(student, teacher, target=labels), loss)
    assert torch.equal(build('NKDLoss', loss_weight=2.0)(student, teacher, labels), 2 * loss)


def test_nkd_without_its_second_term_is_the_weighted_target_term():
    labels = torch.tensor([1, 2])
    student, teacher = torch.randn(2, 4), torch.randn(2, 4)
    rows = torch.arange(2)
    expected = -(teacher.softmax(1) * student.log_softmax(1))[rows, labels].mean()
    assert torch.allclose(nkd_loss(student, teacher, labels, alpha=0.0), expected)


def test_nkd_has_its_minimum_off_target_at_the_teacher():
    labels = torch.tensor([1, 2])
    teacher = torch.randn(2, 4)
    own = nkd_loss(teacher, teacher, labels) - nkd_loss(teacher, teacher, labels, alpha=0.0)
    for _ in range(5):
        other = torch.randn(2, 4)
        off = nkd_loss(other, teacher, labels) - nkd_loss(other, teacher, labels, alpha=0.0)
        assert off > own


@pytest.mark.parametrize(('heads', 'expected'), [(1, 0.356181), (2, 0.364112)])
def test_relation_loss_is_the_published_number(heads, expected):
    def triples(width: int, start: int) -> list:
        return [
            tuple(wave((2, 3, width), start + i + 3 * layer).float() for i in range(3))
            for layer in range(2)
        ]

    loss = token_relation_loss(triples(8, 20), triples(16, 30), heads)
    assert loss.item() == pytest.approx(expected, abs=2e-6)


def test_relation_loss_takes_qkv_as_the_attention_has_it():
    qkv = [torch.randn(2, 3, 24) for _ in range(2)]
    assert build('TokenRelationLoss')(student=qkv, teacher=qkv).item() == pytest.approx(0, abs=1e-6)
    other = [torch.randn(2, 3, 48) for _ in range(3)]
    split = [[layer.chunk(3, dim=-1) for layer in side] for side in (qkv, other)]
    expected = 2 * token_relation_loss(*split, heads=4)
    assert torch.equal(build('TokenRelationLoss', heads=4, loss_weight=2.0)(qkv, other), expected)


def test_relation_loss_refuses_a_shallower_teacher():
    layer = tuple(torch.randn(1, 2, 4) for _ in range(3))
    with pytest.raises(ValueError, match="teacher has 1 layers for the student's 2"):
        token_relation_loss([layer, layer], [layer])
