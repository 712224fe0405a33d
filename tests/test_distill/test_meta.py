"""Temperatures that are adapted by what a trial step does to the labels' loss."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from g2sd_mm.distill.losses.classification import MetaSoftDistillationLoss
from g2sd_mm.distill.meta import MetaTemperatureHook, meta_gradient

from ..helpers.gradients import differences, normal, softmax
from ..helpers.toys import refused

B, D, K = 4, 3, 5


def entropy(z, labels):
    return -np.log(softmax(z)[np.arange(len(z)), labels]).mean()


def soft(z, other, tau):
    p, q = softmax(other / tau[1]), softmax(z / tau[0])
    return tau[0] * tau[1] * (p * np.log(p / q)).sum() / len(z)


def test_the_gradient_is_that_of_the_loss_behind_a_step():
    """Of a linear student with a squared activation: plain NumPy, differentiated by differences."""
    weight = normal(D, K) / 2
    first, second = normal(B, D, seed=1), normal(B, D, seed=2)
    teacher, labels, rate = normal(B, K, seed=3), np.array([0, 1, 4, 2]), 0.3

    def z(images, w):
        return (images @ w) ** 2 + images @ w

    def train(w, log_tau):
        return soft(z(first, w), teacher, np.exp(log_tau)) + entropy(z(first, w), labels)

    def behind(log_tau):
        step = differences(lambda w: train(w, log_tau), [weight], 0)
        return entropy(z(second, weight - rate * step), labels[::-1])

    log_tau = np.log([1.5, 0.7])
    expected = differences_of_a_noisy_one(behind, log_tau)

    theta = torch.from_numpy(weight.copy()).requires_grad_()
    a, b, t, y = map(torch.from_numpy, (first, second, teacher, labels))
    meta = torch.from_numpy(log_tau)
    module = MetaSoftDistillationLoss().double()

    def logits(images=a):
        return (images @ theta) ** 2 + images @ theta

    found = meta_gradient(
        train=lambda: module(logits(), t, meta) + nn.functional.cross_entropy(logits(), y),
        held_out=lambda: nn.functional.cross_entropy(logits(b), y.flip(0)),
        logits=logits,
        soft=lambda values, log_tau: module(values, t, log_tau),
        parameters=[theta],
        meta=meta,
        rate=rate,
    )  # fmt: skip
    assert np.abs(expected).min() > 1e-4
    assert np.allclose(found.numpy(), expected, rtol=1e-3)
    assert np.array_equal(theta.detach().numpy(), weight), 'the student is where it was'


def differences_of_a_noisy_one(function, x):
    """Central differences with a step that the inner differences' noise is small against."""
    step = 1e-3
    moves = step * np.eye(len(x))
    return np.array([(function(x + m) - function(x - m)) / (2 * step) for m in moves])


def test_a_student_that_the_held_out_images_say_nothing_of_has_no_gradient():
    theta = torch.zeros(D, K, requires_grad=True)
    found = meta_gradient(
        lambda: (theta**2).sum(), lambda: 0 * theta.sum(), lambda: torch.ones(B, D) @ theta,
        lambda z, tau: (z * tau[0]).sum() * tau[1], [theta], torch.ones(2), 0.1,
    )  # fmt: skip
    assert torch.equal(found, torch.zeros(2))


class FakeRunner:
    def __init__(self, losses, batch_size=4):
        self.model = nn.Module()
        self.model.distillation = nn.Module()
        self.model.distillation.losses = nn.ModuleDict(losses)
        self.train_dataloader = type('Loader', (), {'batch_size': batch_size})


def test_a_run_without_such_a_loss_is_refused():
    with refused("MetaTemperatureHook.loss='loss_meta'", 'which has nothing'):
        MetaTemperatureHook().before_train(FakeRunner({}))
    with refused("loss='loss_x'", 'loss_x'):
        MetaTemperatureHook('loss_x').before_train(FakeRunner({'loss_x': nn.Identity()}))
    losses = {'loss_meta': MetaSoftDistillationLoss()}
    MetaTemperatureHook().before_train(FakeRunner(losses))
    with refused('train_dataloader.batch_size=1'):
        MetaTemperatureHook().before_train(FakeRunner(losses, 1))
    by_sampler = FakeRunner(losses, None)  # which makes the batches
    by_sampler.train_dataloader.batch_sampler = SimpleNamespace(batch_size=4)
    MetaTemperatureHook().before_train(by_sampler)


@pytest.mark.parametrize('limits', [(1.5, 2.1), (0.25, 16.0)])
def test_temperatures_stay_within_limits(monkeypatch, limits):
    from g2sd_mm.distill import meta

    runner = FakeRunner({'loss_meta': MetaSoftDistillationLoss(tau=2.0)})
    runner.iter, runner.train_loop = 9, None
    runner.optim_wrapper = type('O', (), {'param_groups': [{'lr': 0.1}]})
    runner.message_hub = type('Hub', (), {'update_scalar': lambda *args: None})
    hook = MetaTemperatureHook(every=10, rate=0.1, limits=limits)
    monkeypatch.setattr(meta, 'between_updates', lambda runner: True)
    monkeypatch.setattr(hook, '_gradient', lambda *args: torch.tensor([3.0, -1e-9]))
    log_tau = runner.model.distillation.losses['loss_meta'].log_tau
    hook.after_train_iter(runner, 9)
    expected = 2 * np.exp([-0.1, 0.1])
    assert np.allclose(log_tau.exp().numpy(), expected.clip(*limits), rtol=1e-6)
    runner.iter = 10
    before = log_tau.clone()
    hook.after_train_iter(runner, 10)
    assert torch.equal(log_tau, before), 'not every update'
