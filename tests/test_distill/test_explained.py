"""The share of a target's variance that is explained, against NumPy and by its meaning."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

import g2sd_mm
from g2sd_mm.distill.distillation import figure_names
from g2sd_mm.distill.losses.feature import explained_variance

from ..helpers.toys import distiller, images, stage1_cfg

NAMES = ('tokens', 'encoder')


def tokens(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3 + 1


def by_definition(predicted: torch.Tensor, target: torch.Tensor) -> float:
    p, t = (x.double().numpy().reshape(-1, x.shape[-1]) for x in (predicted, target))
    return 1 - np.mean((p - t) ** 2) / np.mean((t - t.mean(axis=0)) ** 2)


@pytest.mark.parametrize('shape', [(4, 17, 20), (30, 5)])
def test_it_is_what_numpy_computes(shape):
    target = tokens(*shape)
    for share in (0.0, 0.3, 1.0, 3.0):
        predicted = target + share * tokens(*shape, seed=1)
        value = explained_variance(predicted, target)
        assert value.item() == pytest.approx(by_definition(predicted, target), rel=1e-5, abs=1e-6)


def test_perfect_constant_and_worse():
    target = tokens(2, 50, 8)
    mean = target.mean(dim=(0, 1)).expand_as(target)
    assert explained_variance(target, target).item() == 1
    assert explained_variance(mean, target).item() == pytest.approx(0, abs=1e-6)
    assert explained_variance(-target, target).item() < -1
    assert explained_variance(target, torch.ones_like(target)).item() == 0


def test_half_precision_is_computed_in_full():
    target = 100 * tokens(2, 500, 8)
    value = explained_variance((target + 1).bfloat16(), target.bfloat16())
    exact = by_definition((target + 1).bfloat16().float(), target.bfloat16().float())
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(exact, abs=1e-5)


def test_it_has_no_gradient_and_adds_nothing_to_the_loss():
    predicted = tokens(2, 3, 4).requires_grad_()
    assert not explained_variance(predicted, tokens(2, 3, 4, seed=1)).requires_grad


@pytest.mark.parametrize('tokens', ['all', 'masked', 'patches'])
def test_stage_one_logs_it_of_the_tokens_that_its_loss_compares(tokens, monkeypatch):
    model = distiller(tokens=tokens)
    loss = model.distillation.losses['loss_tokens']
    seen, compared = [], loss.compared

    def watched(*given):
        seen.append(compared(*given))
        return seen[-1]

    monkeypatch.setattr(loss, 'compared', watched)
    torch.manual_seed(0)
    losses = model(images(), mode='loss')
    (predicted, target), again = seen
    assert torch.equal(predicted, again[0]) and torch.equal(target, again[1])
    expected = by_definition(predicted.detach(), target)
    assert losses['explained_variance'].item() == pytest.approx(expected, rel=1e-5)
    total, shown = model.parse_losses(losses)
    assert torch.equal(total, losses['loss_tokens'])
    assert 'explained_variance' in shown


def test_several_losses_on_features_log_it_under_their_names():
    losses = distiller(encoder=1.0)(images(), mode='loss')
    names = {name for name in losses if name.startswith('explained')}
    assert names == {'explained_variance_tokens', 'explained_variance_encoder'}


def test_no_figure_is_taken_for_a_loss_and_no_two_are_called_alike():
    losses = ['tokens_loss', 'loss_tokens', 'loss_encoder', 'loss']
    names = figure_names(losses)
    assert list(names) == losses and len(set(names.values())) == len(losses)
    assert not any('loss' in name for name in names.values())
    assert figure_names(['tokens_loss']) == {'tokens_loss': 'explained_variance'}


def test_the_total_has_losses_alone():
    cfg = Config(stage1_cfg(encoder=1.0))
    losses = cfg.distillation.losses
    cfg.distillation.losses = {f'{name}_loss': losses[f'loss_{name}'] for name in NAMES}
    model = MODELS.build(g2sd_mm.distill_config(cfg).model.to_dict())
    losses = model(images(), mode='loss')
    expected = sum(losses[f'{name}_loss'] for name in NAMES)
    torch.testing.assert_close(model.parse_losses(losses)[0], expected)
