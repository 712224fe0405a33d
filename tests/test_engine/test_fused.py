"""AdamW on the fused kernel: chosen where it can be, same numbers, old checkpoints go on."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.optim import OptimWrapper

from g2sd_mm.engine import ViTLayerDecayConstructor
from g2sd_mm.engine.optimizers import with_fused_kernel

from ..helpers.toys import classifier

STEPS, TOLERANCE = 20, 1e-6


def wrapper(model: torch.nn.Module, **optimizer) -> OptimWrapper:
    settings = {'type': 'AdamW', 'lr': 1e-3, 'weight_decay': 0.05, **optimizer}
    constructor = ViTLayerDecayConstructor(
        dict(optimizer=settings), {'layer_decay_rate': 0.75}
    )
    return constructor(model)


def kernels(wrapped: OptimWrapper) -> set[tuple]:
    return {(group['fused'], group['foreach']) for group in wrapped.optimizer.param_groups}


def train(model: torch.nn.Module, wrapped: OptimWrapper, steps: range) -> None:
    """Updates with the same gradients whatever the weights: Adam would magnify their rounding."""
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        wrapped.step()


def assert_same_weights(one: torch.nn.Module, other: torch.nn.Module) -> None:
    for (name, own), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.allclose(own, theirs, rtol=0, atol=TOLERANCE), name


@pytest.mark.parametrize('settings', [{}, {'type': 'Adam'}, {'type': torch.optim.AdamW}])
def test_the_fused_kernel_is_taken(settings):
    assert kernels(wrapper(classifier(), **settings)) == {(True, None)}


@pytest.mark.parametrize('settings', [{'fused': False}, {'foreach': True}])
def test_what_a_config_says_itself_stands(settings):
    chosen = {'fused': None, 'foreach': None, **settings}
    assert kernels(wrapper(classifier(), **settings)) == {(chosen['fused'], chosen['foreach'])}


@pytest.mark.parametrize('cfg', [
    dict(type='SGD', params=[{'params': [torch.zeros(2)]}]),
    dict(type='AdamW', params=[{'params': [torch.zeros(2, device='meta')]}]),
    dict(type='AdamW', params=[{'params': [torch.zeros(2)]}, {'params': [torch.zeros(2).int()]}]),
])
def test_other_optimizers_devices_and_types_are_left_alone(cfg):
    assert with_fused_kernel(cfg) == cfg


def test_fused_and_plain_take_the_same_steps():
    fused, plain = classifier(), classifier()
    before = copy.deepcopy(fused)
    train(fused, wrapper(fused), range(STEPS))
    train(plain, wrapper(plain, fused=False, foreach=False), range(STEPS))
    assert_same_weights(fused, plain)
    moved = max(
        float((a - b).abs().max().detach())
        for a, b in zip(fused.parameters(), before.parameters(), strict=True)
    )
    assert moved > 1000 * TOLERANCE


def test_a_checkpoint_of_a_plain_run_goes_on_fused():
    whole, first = classifier(), classifier()
    train(whole, wrapper(whole), range(STEPS))
    begun = wrapper(first, fused=False, foreach=False)
    train(first, begun, range(STEPS // 2))

    resumed = wrapper(first)
    resumed.load_state_dict(copy.deepcopy(begun.state_dict()))
    assert kernels(resumed) == {(True, None)}
    train(first, resumed, range(STEPS // 2, STEPS))
    assert_same_weights(first, whole)


def test_a_checkpoint_of_a_fused_run_goes_on_plain():
    model = classifier()
    begun = wrapper(model)
    train(model, begun, range(2))
    resumed = wrapper(model, fused=False)
    resumed.load_state_dict(copy.deepcopy(begun.state_dict()))
    assert kernels(resumed) == {(False, None)}
    train(model, resumed, range(2, 4))


def test_a_checkpoint_of_another_model_is_refused_by_torch():
    small, large = wrapper(classifier()), wrapper(classifier('dist_token'))
    state = large.state_dict()
    state['param_groups'].pop()
    with pytest.raises(ValueError, match='different number of parameter groups'):
        small.load_state_dict(state)
