"""Losses on tokens against formulas in NumPy, float64: values, and gradients by differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from g2sd_mm.distill import Features
from g2sd_mm.errors import UserError
from g2sd_mm.models.masking import random_masking

from ..helpers.toys import logged, words

B, L, D = 2, 4, 6
Arrays = tuple[np.ndarray, np.ndarray]


def build(name: str, **options: Any) -> torch.nn.Module:
    return MODELS.build(dict(type=name, **options))


def tokens(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.3, 2.0, shape or (B, 1 + L, D))


# The formulas, once more --------------------------------------------------------------------------


def smooth_l1(p: np.ndarray, t: np.ndarray, beta: float) -> float:
    d = np.abs(p - t)
    return float(np.where(d < beta, d**2 / (2 * beta), d - beta / 2).mean())


def squared(p: np.ndarray, t: np.ndarray) -> float:
    return float(((p - t) ** 2).mean())


def one_minus_cosine(p: np.ndarray, t: np.ndarray) -> float:
    norms = np.sqrt((p**2).sum(-1)) * np.sqrt((t**2).sum(-1))
    return float((1 - (p * t).sum(-1) / norms).mean())


def similarity(p: np.ndarray, t: np.ndarray, temperature: float) -> float:
    def rows(x: np.ndarray) -> np.ndarray:
        x = x / np.sqrt((x**2).sum(-1, keepdims=True))
        e = np.exp(np.einsum('bnc,bmc->bnm', x, x) / temperature)
        return e / e.sum(-1, keepdims=True)

    own, theirs = rows(p), rows(t)
    return float((theirs * np.log(theirs / own)).sum(-1).mean())


def layernorm(t: np.ndarray) -> np.ndarray:
    mean, variance = t.mean(-1, keepdims=True), t.var(-1, keepdims=True)
    return (t - mean) / np.sqrt(variance + 1e-6)


def mix(p: np.ndarray, t: np.ndarray) -> float:
    return 0.9 * one_minus_cosine(p, t) + 0.1 * smooth_l1(p, t, 1.0)


CASES: list[tuple[str, dict[str, Any], Callable[[np.ndarray, np.ndarray], float]]] = [
    ('SmoothL1FeatureLoss', {}, lambda p, t: smooth_l1(p, layernorm(t), 2.0)),
    ('SmoothL1FeatureLoss', dict(beta=0.5, target='none', loss_weight=3.0),
     lambda p, t: 3 * smooth_l1(p, t, 0.5)),
    ('MSEFeatureLoss', {}, squared),
    ('MSEFeatureLoss', dict(tokens='cls'), lambda p, t: squared(p[:, :1], t[:, :1])),
    ('CosineFeatureLoss', dict(tokens='patches'),
     lambda p, t: one_minus_cosine(p[:, 1:], t[:, 1:])),
    ('CosineSmoothL1FeatureLoss', {}, mix),
    ('CosineSmoothL1FeatureLoss', dict(cosine=0.5, smooth_l1=2.0, beta=3.0, target='layernorm'),
     lambda p, t: 0.5 * one_minus_cosine(p, layernorm(t)) + 2 * smooth_l1(p, layernorm(t), 3.0)),
    ('CosineSmoothL1FeatureLoss', dict(token_weights=dict(cls=0.25, patches=2.0), loss_weight=2.0),
     lambda p, t: 2 * (0.25 * mix(p[:, :1], t[:, :1]) + 2 * mix(p[:, 1:], t[:, 1:]))),
    ('SmoothL1FeatureLoss', dict(target='none', token_weights=dict(patches=0.5)),
     lambda p, t: 0.5 * smooth_l1(p[:, 1:], t[:, 1:], 2.0)),
    ('TokenSimilarityLoss', dict(temperature=0.5),
     lambda p, t: similarity(p[:, 1:], t[:, 1:], 0.5)),
    ('TokenSimilarityLoss', dict(tokens='all', loss_weight=10),
     lambda p, t: 10 * similarity(p, t, 0.07)),
]  # fmt: skip


@pytest.mark.parametrize(('name', 'options', 'formula'), CASES)
def test_value_and_gradient_are_the_formulas(name, options, formula):
    p, t = tokens(1), tokens(2)
    predicted = torch.tensor(p, requires_grad=True)
    loss = build(name, **options)(student=predicted, teacher=torch.tensor(t))
    assert loss.item() == pytest.approx(formula(p, t), rel=1e-9)
    loss.backward()
    gradient, step = np.zeros_like(p), 1e-6
    for place in np.ndindex(p.shape):
        away = np.zeros_like(p)
        away[place] = step
        gradient[place] = (formula(p + away, t) - formula(p - away, t)) / (2 * step)
    assert np.abs(gradient).max() > 1e-3
    np.testing.assert_allclose(predicted.grad.numpy(), gradient, rtol=1e-5, atol=1e-7)


def test_hidden_patches_are_compared_image_by_image():
    """Relations are between tokens of one image, however many are hidden."""
    view = random_masking(torch.rand(B, L), 0.5)
    p, t = tokens(1), tokens(2)
    loss = build('TokenSimilarityLoss', tokens='masked', temperature=0.5)
    hidden = view.mask.bool().numpy()
    own, theirs = (x[:, 1:][hidden].reshape(B, 2, D) for x in (p, t))
    value = loss(student=torch.tensor(p), teacher=torch.tensor(t), view=view)
    assert value.item() == pytest.approx(similarity(own, theirs, 0.5), rel=1e-9)
    mse = build('MSEFeatureLoss', tokens='masked')(torch.tensor(p), torch.tensor(t), view)
    assert mse.item() == pytest.approx(squared(own, theirs), rel=1e-9)
    # of images of which a part of a batch has hidden ones
    view.mask[1:] = 0
    value = loss(student=torch.tensor(p), teacher=torch.tensor(t), view=view)
    assert value.item() == pytest.approx(similarity(own[:1], theirs[:1], 0.5), rel=1e-9)


def test_similarity_compares_tokens_of_other_widths():
    p, t = tokens(1), tokens(2, B, 1 + L, 9)
    value = build('TokenSimilarityLoss')(torch.tensor(p), torch.tensor(t))
    assert value.item() == pytest.approx(similarity(p[:, 1:], t[:, 1:], 0.07), rel=1e-9)


@pytest.mark.parametrize('name', [
    'SmoothL1FeatureLoss', 'MSEFeatureLoss', 'CosineFeatureLoss', 'UnitL1FeatureLoss',
    'CosineSmoothL1FeatureLoss',
])
@pytest.mark.parametrize('width', [1, D + 1])  # of which torch would compare the first
def test_tokens_of_two_widths_are_refused_with_the_one_to_set(name, width):
    with pytest.raises(UserError, match=words(f'out_channels={D}', 'distillation.adapters')):
        build(name)(torch.tensor(tokens(1, B, 1 + L, width)), torch.tensor(tokens(2)))


def test_hidden_patches_are_asked_for_where_none_is_hidden():
    same, view = torch.tensor(tokens(1)), random_masking(torch.rand(B, L), 0.0)
    with pytest.raises(ValueError, match=words("tokens='masked'", 'model.mask_ratio', 'patches')):
        build('MSEFeatureLoss', tokens='masked')(same, same, view)


def test_explained_variance_is_of_the_standardised_target():
    p, t = torch.tensor(tokens(1)), torch.tensor(tokens(2))
    perfect = torch.tensor(layernorm(t.numpy()))
    loss = build('SmoothL1FeatureLoss')
    assert loss.explained_variance(perfect, t).item() == pytest.approx(1, abs=1e-6)
    assert loss.explained_variance(p, t).item() < 0.5
    # of directions the length does not count
    assert build('CosineFeatureLoss').explained_variance(5 * t, t).item() == pytest.approx(1)
    assert build('MSEFeatureLoss').explained_variance(5 * t, t).item() < 0
    assert not hasattr(build('TokenSimilarityLoss'), 'explained_variance')


@pytest.mark.parametrize(('options', 'parts'), [
    (dict(target='mean'), ("target='mean'", 'mean_std', 'phi_s')),
    (dict(token_weights=dict(registers=1.0)), ("token_weights='registers'", 'cls, patches')),
    (dict(token_weights=dict(cls=1.0), tokens='masked'), ('token_weights', "'masked'")),
])
def test_options_that_do_not_exist_are_refused(options, parts):
    with pytest.raises(ValueError, match=words(*parts)):
        build('MSEFeatureLoss', **options)


def test_without_a_class_token_patches_are_compared_and_the_log_says_so_once():
    t = torch.tensor(tokens(2))
    loss = build('SmoothL1FeatureLoss', target='none', token_weights=dict(cls=1.0, patches=0.5))
    answer = Features(None, t[:, 1:].unflatten(1, (2, 2)))
    with logged() as lines:
        values = [loss(torch.tensor(tokens(1)), answer) for _ in range(3)]
    assert values[0].item() == pytest.approx(0.5 * smooth_l1(tokens(1)[:, 1:], tokens(2)[:, 1:], 2))
    (line,) = [line for line in lines if 'no class token' in line]
    assert 'the teacher has no class token' in line
    with pytest.raises(ValueError, match='without a class token'):
        build('MSEFeatureLoss', tokens='cls')(torch.tensor(tokens(1)), answer)
    with pytest.raises(UserError, match='token_weights'):  # it would train nothing
        build('MSEFeatureLoss', token_weights=dict(cls=1.0))(torch.tensor(tokens(1)), answer)
