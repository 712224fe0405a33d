"""Parameter groups: rate by layer, decay by kind."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from g2sd_mm.engine.fitting import _take_settings
from g2sd_mm.engine.optimizers import (
    ViTLayerDecayConstructor,
    check_clipping,
    fit_wrapper,
    layer_decay_scale,
    with_fused_kernel,
)
from g2sd_mm.errors import UserError

from ..helpers.toys import classifier, distiller, words
from ..test_distill.test_specific import RESNET, specific

RATE, LR, DECAY = 0.5, 8.0, 0.05


def groups(model: nn.Module, **options) -> list[dict]:
    constructor = ViTLayerDecayConstructor(
        dict(optimizer=dict(type='AdamW', lr=LR, weight_decay=DECAY)),
        {'layer_decay_rate': RATE, **options},
    )
    return constructor(model).optimizer.param_groups


def by_name(groups: list[dict]) -> dict[str, tuple[float, float]]:
    """Parameter -> (rate, decay)."""
    return {n: (g['lr'], g['weight_decay']) for g in groups for n in g['param_names']}


def test_the_scale_is_a_power_of_the_rate():
    assert layer_decay_scale(0.75, 13, 12) == 1
    assert layer_decay_scale(0.75, 0, 12) == pytest.approx(0.02376, abs=1e-5)


def test_rates_fall_from_the_head_to_the_patches():
    found = by_name(groups(classifier('dist_token')))
    rates = {name: rate for name, (rate, _) in found.items()}
    assert rates['head.layers.head.weight'] == LR
    assert rates['backbone.norm.weight'] == LR
    assert rates['backbone.dist_token'] == LR
    assert rates['backbone.blocks.1.mlp.fc1.bias'] == LR / 2
    assert rates['backbone.blocks.0.attn.qkv.weight'] == LR / 4
    for name in ('patch_embed.proj.weight', 'pos_embed', 'cls_token'):
        assert rates[f'backbone.{name}'] == LR / 8


def test_vectors_and_named_parameters_do_not_decay():
    model = classifier('dist_token')
    found = by_name(groups(model, no_decay_names=('pos_embed', 'cls_token')))
    for name, parameter in model.named_parameters():
        free = parameter.ndim == 1 or name.endswith(('pos_embed', 'cls_token'))
        assert found[name][1] == (0.0 if free else DECAY), name
    assert found['backbone.dist_token'][1] == DECAY


def test_without_names_the_tokens_decay():
    found = by_name(groups(classifier('dist_token')))
    assert found['backbone.pos_embed'][1] == found['backbone.cls_token'][1] == DECAY


def test_layer_norm_alone_may_be_free():
    found = by_name(groups(classifier(), no_decay='layer_norm'))
    assert found['backbone.blocks.0.norm1.bias'][1] == 0
    assert found['backbone.fc_norm.weight'][1] == 0
    assert found['backbone.blocks.0.mlp.fc1.bias'][1] == DECAY


def test_groups_are_merged_and_hold_every_trainable_parameter_once():
    model = classifier('dist_token')
    model.backbone.patch_embed.proj.bias.requires_grad_(False)
    made = groups(model)
    keys = [(g['lr'], g['weight_decay']) for g in made]
    assert len(keys) == len(set(keys)) == 2 * (model.backbone.depth + 2) - 1
    held = [id(p) for g in made for p in g['params']]
    assert len(held) == len(set(held))
    assert set(held) == {id(p) for p in model.parameters() if p.requires_grad}
    for group in made:
        assert group['lr'] == LR * group['lr_scale']
        assert len(group['params']) == len(group['param_names'])


class Wrapper(nn.Module):
    """As DDP: the model lies below ``module``."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


def test_a_ddp_wrapper_changes_nothing():
    model = classifier('dist_token')
    assert by_name(groups(Wrapper(model))) == by_name(groups(model))


def test_inside_a_distiller_the_student_decays_by_layer():
    model = specific()
    found, plain = by_name(groups(model)), by_name(groups(model.student))
    assert found == {f'student.{name}': values for name, values in plain.items()}


def test_adapters_train_at_the_full_rate():
    model = specific(
        taps=dict(mid=dict(student='backbone.blocks.0', teacher='backbone.blocks.1')),
        losses=dict(loss_mid=dict(type='SmoothL1FeatureLoss', tap='mid')),
        adapters=dict(mid=dict(type=nn.Linear, in_features=16, out_features=24)),
    )
    assert by_name(groups(model))['distillation.adapters.mid.weight'] == (LR, DECAY)


def test_stage_one_decays_tokens_and_has_no_frozen_positions():
    """Rate 1: two groups, matrices and tokens in one, vectors in the other."""
    model = distiller()
    made = groups(model, layer_decay_rate=1.0)
    assert len(made) == 2
    found = by_name(made)
    assert found['student.cls_token'] == found['student.mask_token'] == (LR, DECAY)
    assert found['student.norm.weight'] == (LR, 0)
    assert 'student.pos_embed' not in found
    assert 'student.decoder_pos_embed' not in found


def test_layer_decay_needs_one_of_our_backbones():
    from mmengine.registry import MODELS

    resnet = MODELS.build(RESNET)
    with pytest.raises(ValueError, match=words('layer_decay_rate=0.5 needs one of our ViT')):
        groups(resnet)
    assert {rate for rate, _ in by_name(groups(resnet, layer_decay_rate=1.0)).values()} == {LR}


@pytest.mark.parametrize('options', [{'norm_decay_mult': 0.0}, {'no_decay': 'biases'}])
def test_unknown_options_are_refused(options):
    message = words('knows layer_decay_rate, no_decay (one_dimensional or layer_norm)', 'got')
    with pytest.raises(ValueError, match=message):
        groups(classifier(), **options)


def custom(**keys) -> dict:
    return {'custom_keys': keys}


def test_a_rate_of_zero_freezes():
    model = classifier('dist_token')
    found = by_name(groups(model, **custom(**{'backbone.blocks.0': dict(lr_mult=0)})))
    for name, parameter in model.named_parameters():
        frozen = name.startswith('backbone.blocks.0.')
        assert (name in found) is not frozen
        assert parameter.requires_grad is not frozen


def test_under_ddp_what_is_frozen_still_gets_the_gradients_that_it_waits_for():
    model = classifier()
    found = by_name(groups(Wrapper(model), **custom(backbone=dict(lr_mult=0.0))))
    assert set(found) == {name for name, _ in model.named_parameters() if 'head' in name}
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_factors_multiply_the_layers_rate_and_replace_the_rule_of_decay():
    keys = custom(backbone=dict(lr_mult=0.1), norm=dict(decay_mult=2.0), head=dict(lr_mult=10))
    plain, found = by_name(groups(classifier())), by_name(groups(classifier(), **keys))
    rates = {name: rate / plain[name][0] for name, (rate, _) in found.items()}
    assert rates['head.fc.weight'] == pytest.approx(10)
    # of two parts in a name, the longer one counts
    assert rates['backbone.blocks.0.norm1.weight'] == pytest.approx(0.1)
    assert found['backbone.blocks.0.mlp.fc1.weight'][1] == DECAY
    assert found['backbone.blocks.0.mlp.fc1.bias'][1] == 0
    longer = by_name(groups(classifier(), **custom(**{
        'backbone': dict(lr_mult=0.1), 'backbone.blocks.0.norm': dict(decay_mult=2.0),
    })))  # fmt: skip
    assert longer['backbone.blocks.0.norm1.weight'] == (
        plain['backbone.blocks.0.norm1.weight'][0], 2 * DECAY
    )


@pytest.mark.parametrize('keys', [
    {'backbon.': dict(lr_mult=0)},  # would freeze nothing
    {'backbone': dict(lr_mul=0)},
    {'backbone': dict(lr_mult=-1)},
    {'backbone': 0},
])  # fmt: skip
def test_keys_that_do_nothing_are_refused(keys):
    with pytest.raises(UserError, match=r'optim_wrapper\.paramwise_cfg\.custom_keys\['):
        groups(classifier(), custom_keys=keys)


def test_something_has_to_be_left_to_train():
    with pytest.raises(UserError, match='every parameter is frozen'):
        groups(classifier(), **custom(backbone=dict(lr_mult=0), head=dict(lr_mult=0)))


def test_the_optimizer_is_built_with_its_wrapper():
    constructor = ViTLayerDecayConstructor(
        dict(type='OptimWrapper', accumulative_counts=2, optimizer=dict(type='SGD', lr=LR)), {}
    )
    wrapper = constructor(classifier())
    assert isinstance(wrapper.optimizer, torch.optim.SGD)
    assert wrapper._accumulative_counts == 2


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


def resume(resumed: OptimWrapper, begun: OptimWrapper) -> None:
    """As a run does it: the settings of its config count, and among them the kernel."""
    state = copy.deepcopy(begun.state_dict())
    assert not _take_settings(resumed.optimizer.param_groups, state, {'lr'})
    resumed.load_state_dict(state)


def test_a_checkpoint_of_a_plain_run_goes_on_fused():
    whole, first = classifier(), classifier()
    train(whole, wrapper(whole), range(STEPS))
    begun = wrapper(first, fused=False, foreach=False)
    train(first, begun, range(STEPS // 2))

    resumed = wrapper(first)
    resume(resumed, begun)
    assert kernels(resumed) == {(True, None)}
    train(first, resumed, range(STEPS // 2, STEPS))
    assert_same_weights(first, whole)


def test_a_checkpoint_of_a_fused_run_goes_on_plain():
    model = classifier()
    begun = wrapper(model)
    train(model, begun, range(2))
    resumed = wrapper(model, fused=False)
    resume(resumed, begun)
    assert kernels(resumed) == {(False, None)}
    train(model, resumed, range(2, 4))


@pytest.mark.parametrize('clip_grad, text', [
    (dict(max_norm=0), 'clip_grad.max_norm=0'),
    (dict(max_norm=-1.0), 'clip_grad.max_norm=-1.0'),
    (dict(max_norm=float('nan')), 'clip_grad.max_norm=nan'),
    (dict(norm_type=2), 'clip_grad.max_norm=None'),
    (dict(type='value', clip_value=0), 'clip_grad.clip_value=0'),
    (dict(max_norm=1, max=1), 'clip_grad has max: there are type, max_norm'),
    (dict(type='values', clip_value=1), "type='value'"),
    (3.0, 'clip_grad=3.0'),
])  # fmt: skip
def test_clipping_that_trains_nothing_is_refused(clip_grad, text):
    with pytest.raises(UserError, match=words(text)):
        check_clipping(clip_grad)


@pytest.mark.parametrize(
    'clip_grad', [None, dict(max_norm=35, norm_type=2), dict(type='value', clip_value=0.1)]
)
def test_clipping_of_the_libraries_passes(clip_grad):
    check_clipping(clip_grad)


def test_mixed_precision_of_gpus_needs_one(monkeypatch):
    """Stock configs have it; what the message says works."""
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic', optimizer=dict(type='SGD'))
    with pytest.raises(UserError, match=words('needs a GPU', 'type=OptimWrapper')):
        fit_wrapper(wrapper)
    wrapper['type'] = 'OptimWrapper'
    fit_wrapper(wrapper)
    assert wrapper == dict(type='OptimWrapper', optimizer=dict(type='SGD'))
