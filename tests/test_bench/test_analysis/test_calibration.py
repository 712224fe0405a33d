"""Reliability, calibration error and agreement."""

from __future__ import annotations

import math

import pytest
import torch

from g2sd_mm.bench.analysis.agreement import (
    agreement,
    calibration,
    compare_answers,
    expected_calibration_error,
    reliability,
)
from g2sd_mm.bench.analysis.network import logits

from .networks import pictures


def test_bins_hold_what_falls_into_them():
    table = reliability(torch.tensor([0.05, 0.2, 0.25, 1.0]), torch.tensor([1, 0, 1, 1]) > 0, 5)
    assert table['count'] == [2, 1, 0, 0, 1]  # the upper edge belongs to a bin
    assert table['accuracy'] == pytest.approx([0.5, 1, 0, 0, 1])
    assert table['confidence'] == pytest.approx([0.125, 0.25, 0, 0, 1])


def test_who_is_as_often_right_as_sure_has_no_error():
    generator = torch.Generator().manual_seed(0)
    confidence = torch.rand(200_000, generator=generator)
    correct = torch.rand(200_000, generator=generator) < confidence
    assert expected_calibration_error(reliability(confidence, correct)) < 0.005


def test_who_is_too_sure_is_told_by_how_much():
    confidence = torch.full((1000,), 0.9)
    correct = torch.arange(1000) < 600
    assert expected_calibration_error(reliability(confidence, correct)) == pytest.approx(0.3)


def test_errors_of_bins_do_not_cancel():
    confidence = torch.tensor([0.2] * 10 + [0.8] * 10)
    correct = torch.tensor([True] * 10 + [False] * 10)
    assert expected_calibration_error(reliability(confidence, correct)) == pytest.approx(0.8)


def test_calibration_of_scores():
    scores = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]]))
    found = calibration(scores, torch.tensor([0, 2]), bins=10)
    assert found['accuracy'] == pytest.approx(50)
    assert found['confidence'] == pytest.approx(65)
    assert found['ece'] == pytest.approx(100 * (0.3 + 0.6) / 2, abs=1e-4)
    assert found['nll'] == pytest.approx(-(math.log(0.7) + math.log(0.3)) / 2)


def test_networks_agree_with_themselves():
    scores = torch.randn(20, 5)
    found = agreement(scores, scores, torch.arange(20) % 5)
    assert found['same'] == 100 and found['kl'] == pytest.approx(0, abs=1e-9)


def test_agreement_is_counted_where_the_teacher_is_right_and_where_it_is_wrong():
    teacher = torch.eye(4)[[0, 1, 2, 3]]
    student = torch.eye(4)[[0, 2, 2, 0]]
    found = agreement(student, teacher, torch.tensor([0, 1, 0, 0]))
    assert found['same'] == 50  # images 0 and 2
    assert found['same_where_right'] == 50  # 0 of 0 and 1
    assert found['same_where_wrong'] == 50  # 2 of 2 and 3
    assert found['kl'] > 0
    assert agreement(teacher, teacher, torch.arange(4))['same_where_wrong'] is None


def test_the_divergence_is_the_students_from_the_teacher():
    teacher = torch.log(torch.tensor([[0.9, 0.1]]))
    student = torch.log(torch.tensor([[0.5, 0.5]]))
    expected = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert agreement(student, teacher, torch.tensor([0]))['kl'] == pytest.approx(expected)


def test_all_networks_are_asked(networks):
    images, seen = pictures(6), []
    labels = logits(networks['teacher'], images).argmax(dim=1)
    found = compare_answers(networks, images, labels, seen.append)
    assert list(found['agreement']) == ['g2sd']
    assert found['calibration']['teacher']['accuracy'] == 100
    assert sum(seen) == 12
    alone = compare_answers({'teacher': networks['teacher']}, images, labels)
    assert alone['agreement'] == {}
