"""Dropped patches: they leave no trace, the right ones go, nothing dropped is the plain result."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from g2sd_mm.bench.analysis import ANALYSES
from g2sd_mm.bench.analysis import occlusion as occlusion_module
from g2sd_mm.bench.analysis.network import logits, normalised
from g2sd_mm.bench.analysis.occlusion import (
    answers,
    drop_orders,
    number_kept,
    occlusion,
    saliency,
    similarity,
    visible_only,
)

from .networks import pictures

IMAGES = pictures(6)
LABELS = torch.arange(6) % 10


def paint(images: Tensor, patches: list[int], value: int = 0) -> Tensor:
    """The images with some of their 7 x 7 patches of 8 px overpainted."""
    images = images.clone()
    for patch in patches:
        row, column = divmod(patch, 7)
        images[:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = value
    return images


@pytest.mark.parametrize('name', ['teacher', 'g2sd'])
def test_dropped_patches_cannot_be_seen(networks, name):
    student = networks[name]
    gone = [0, 10, 48]
    keep = torch.tensor([i for i in range(49) if i not in gone]).expand(6, -1)
    with torch.no_grad(), visible_only(student.model.backbone, keep):
        one, other = (student(normalised(student, x)) for x in (IMAGES, paint(IMAGES, gone)))
        seen = student(normalised(student, paint(IMAGES, [1])))
    assert torch.equal(one, other)
    assert not torch.allclose(one, seen)
    assert not torch.allclose(one, logits(student, IMAGES))
    # the hook is gone
    assert torch.equal(logits(student, IMAGES), student(normalised(student, IMAGES)))


@pytest.mark.parametrize('name', ['teacher', 'g2sd'])
def test_with_nothing_dropped_the_answer_is_the_plain_one(networks, name):
    student = networks[name]
    order = torch.stack([torch.randperm(49) for _ in IMAGES])
    scores, features = answers(student, IMAGES, order, 0.0)
    assert torch.equal(scores, logits(student, IMAGES))
    assert similarity(features, features) == pytest.approx(1)


def test_the_first_of_the_order_go(networks):
    student = networks['g2sd']
    order = torch.arange(49).expand(6, -1)
    half, _ = answers(student, IMAGES, order, 0.5)
    upper, lower = paint(IMAGES, list(range(24))), paint(IMAGES, list(range(25, 49)))
    same, _ = answers(student, upper, order, 0.5)
    other, _ = answers(student, lower, order, 0.5)
    assert torch.equal(half, same)  # patches 0..23 are gone: nobody sees them painted
    assert not torch.allclose(half, other)


def test_one_patch_always_stays():
    assert [number_kept(49, f) for f in (0, 0.5, 0.9, 1.0)] == [49, 25, 5, 1]


def test_the_patch_that_the_answer_rests_on_is_the_most_salient(networks):
    """A network that hears one patch alone, of which the others are told nothing."""
    import copy

    student = copy.deepcopy(networks['teacher'])
    backbone = student.model.backbone
    with torch.no_grad():
        for block in backbone.blocks:  # no talk between tokens, no change of a token
            for part in (block.attn.proj, block.mlp.fc2):
                part.weight.zero_()
                part.bias.zero_()

        backbone.fc_norm = torch.nn.Identity()

    def only_patch_17(module: torch.nn.Module, args: tuple) -> tuple:
        x, *rest = args
        mask = torch.zeros(1, x.shape[1], 1)
        mask[:, 1 + 17] = 1
        return (x * mask, *rest)

    backbone.blocks[-1].register_forward_pre_hook(only_patch_17)
    found = saliency(student, normalised(student, IMAGES))
    assert found.shape == (6, 49)
    others = [i for i in range(49) if i != 17]
    assert found[:, others].abs().max() < 1e-6
    assert found[:, 17].abs().min() > 1e-6
    assert all(parameter.grad is None for parameter in student.parameters())


def test_orders_are_permutations_that_do_not_change(networks):
    orders = drop_orders(networks['teacher'], IMAGES)
    again = drop_orders(networks['teacher'], IMAGES)
    for way, order in orders.items():
        assert torch.equal(order, again[way])
        assert torch.equal(order.sort(dim=1).values, torch.arange(49).expand(6, -1))
    assert not torch.equal(orders['random'][0], orders['random'][1])
    ranks = saliency(networks['teacher'], normalised(networks['teacher'], IMAGES))
    assert torch.equal(orders['salient'][:, 0], ranks.argmax(dim=1))


def test_features_of_other_images_are_not_similar():
    whole = torch.randn(500, 32) + 10  # far from the origin, as features are
    assert similarity(whole.roll(1, 0), whole) == pytest.approx(0, abs=0.05)
    assert similarity(whole, whole) == pytest.approx(1)


def test_curves_of_all_networks(networks, monkeypatch):
    monkeypatch.setattr(occlusion_module, 'FRACTIONS', (0.0, 0.5, 0.9))
    seen = []
    labels = logits(networks['g2sd'], IMAGES).argmax(dim=1)
    found = occlusion(networks, IMAGES, labels, seen.append)
    assert found['patches'] == 49 and found['fractions'] == [0.0, 0.5, 0.9]
    for way in ('random', 'salient'):
        curves = found['orders'][way]
        assert list(curves) == ['teacher', 'g2sd']
        assert curves['g2sd']['accuracy'][0] == 100  # nothing dropped: the plain accuracy
        for curve in curves.values():
            assert curve['similarity'][0] == pytest.approx(1)
            assert curve['similarity'][2] < 0.999
    assert found['orders']['random']['g2sd'] != found['orders']['salient']['g2sd']
    assert sum(seen) == 6 * ANALYSES['occlusion'].passes(2)


def test_every_value_is_that_of_its_own_pass(networks, monkeypatch):
    """The whole image is asked about once for both orders, which must not show."""
    fractions = (0.0, 0.3, 0.9)
    monkeypatch.setattr(occlusion_module, 'FRACTIONS', fractions)
    found = occlusion(networks, IMAGES, LABELS)
    orders = drop_orders(networks['teacher'], IMAGES)
    for way, order in orders.items():
        for name, student in networks.items():
            passed = [answers(student, IMAGES, order, fraction) for fraction in fractions]
            assert found['orders'][way][name] == {
                'accuracy': [
                    100 * (scores.argmax(dim=1) == LABELS).double().mean().item()
                    for scores, _ in passed
                ],
                'similarity': [similarity(features, passed[0][1]) for _, features in passed],
            }
