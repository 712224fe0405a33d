"""The one vision transformer."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from g2sd_mm.engine.optimizers import ViTLayerDecayConstructor
from g2sd_mm.errors import UserError
from g2sd_mm.models.positions import resize_positions
from g2sd_mm.models.vit import Attention, Block, PatchEmbed, VisionTransformer, init_linears

from ..helpers.toys import IMAGE, arch, images


class Operations(TorchDispatchMode):
    """Names of all operations that ran."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(func.__name__)
        return func(*args, **(kwargs or {}))


@contextmanager
def operations():
    with Operations() as mode:
        yield mode.seen


def test_visible_patches_equal_a_gather_of_all_patches():
    embed, pixels = PatchEmbed(8, 16), images(3, 32)
    keep = torch.stack([torch.randperm(16)[:5] for _ in range(3)])
    gathered = embed(pixels).gather(1, keep.unsqueeze(-1).expand(-1, -1, 16))
    assert torch.allclose(embed.visible(pixels, keep), gathered, atol=1e-5)


def test_visible_patches_are_right_on_a_rectangle():
    embed, pixels = PatchEmbed(8, 16), torch.randn(1, 3, 16, 40)
    keep = torch.randperm(10).unsqueeze(0)
    assert torch.allclose(embed.visible(pixels, keep)[0], embed(pixels)[0, keep[0]], atol=1e-5)


def test_visible_patches_give_the_projection_the_same_gradient():
    embed, pixels = PatchEmbed(8, 16), images(2)
    keep = torch.arange(16).expand(2, -1)
    gradients = []
    for tokens in (embed(pixels), embed.visible(pixels, keep)):
        embed.zero_grad()
        tokens.square().sum().backward()
        gradients.append(embed.proj.weight.grad.clone())
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-3)


def test_an_image_that_does_not_divide_into_patches_is_refused():
    with pytest.raises(ValueError, match='image of 32x30 px does not divide into patches of 8 px'):
        PatchEmbed(8, 16)(torch.zeros(1, 3, 32, 30))
    with pytest.raises(ValueError, match='img_size 30 is not a multiple of patch_size 8'):
        VisionTransformer(arch(), img_size=30)


def test_attention_is_softmax_attention():
    attention, x = Attention(16, 4), torch.randn(2, 5, 16)
    q, k, v = (t.unflatten(-1, (4, 4)).transpose(1, 2) for t in attention.qkv(x).chunk(3, dim=-1))
    weights = (q @ k.transpose(-2, -1) / 2).softmax(-1)
    expected = attention.proj((weights @ v).transpose(1, 2).flatten(2))
    assert torch.allclose(attention(x), expected, atol=1e-6)


def test_attention_runs_on_the_fused_kernel_in_training_and_evaluation():
    block, x = Block(16, 2), torch.randn(2, 5, 16)
    with operations() as training:
        block(x).sum().backward()
    with torch.no_grad(), operations() as evaluation:
        block(x)
    for seen in (training, evaluation):
        assert any('scaled_dot_product_flash_attention' in name for name in seen), seen
        assert not any('softmax' in name for name in seen), seen


@pytest.mark.parametrize('short', [True, False])
def test_bfloat16_on_a_cpu_is_close_to_float32(monkeypatch, short):
    if not short:
        monkeypatch.setattr('g2sd_mm.models.vit._SHORT', 4)
    attention, x = Attention(16, 2), torch.randn(2, 5, 16)
    exact, gradient = attention(x), attention.qkv.weight
    (expected,) = torch.autograd.grad(exact.sum(), gradient)
    with torch.autocast('cpu', torch.bfloat16):
        out = attention(x)
        with torch.no_grad():
            frozen = attention(x)
    (found,) = torch.autograd.grad(out.sum(), gradient)
    assert out.dtype == frozen.dtype == torch.bfloat16
    for half in (out, frozen):
        assert torch.allclose(half.float(), exact, atol=2e-2)
    assert torch.allclose(found, expected, atol=2e-2 * expected.abs().max())


def test_bfloat16_on_a_cpu_is_written_out_where_short_and_else_differentiated_in_float32(
    monkeypatch,
):
    attention = Attention(16, 2)

    def ran(tokens: int) -> set[str]:
        with torch.autocast('cpu', torch.bfloat16), operations() as seen:
            attention(torch.randn(2, tokens, 16)).sum().backward()
        return seen

    monkeypatch.setattr('g2sd_mm.models.vit._SHORT', 5)
    assert not any('flash_attention' in name for name in ran(5))
    assert any('flash_attention_for_cpu_backward' in name for name in ran(6))


def test_a_frozen_network_resizes_its_positions_once(monkeypatch):
    calls = []

    def resize(*arguments):
        calls.append(arguments[-1])
        return resize_positions(*arguments)

    monkeypatch.setattr('g2sd_mm.models.vit.resize_positions', resize)
    model = VisionTransformer(arch(), img_size=32)
    model.pos_embed.data.normal_()
    for _ in range(2):  # trained: it may have changed
        model.positions((2, 3))
    assert calls == [(2, 3)] * 2
    model.requires_grad_(False)
    first, second = model.positions((2, 3)), model.positions((2, 3))
    assert len(calls) == 3 and torch.equal(first, second)
    model.positions((3, 3))
    model.load_state_dict({k: v + 1 for k, v in model.state_dict().items()})
    torch.testing.assert_close(model.positions((2, 3)), first + 1)
    model.to(torch.float64)
    assert model.positions((2, 3)).dtype == torch.float64
    assert len(calls) == 6
    assert not any('resized' in name for name in model.state_dict())


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match='16 channels do not divide into 3 heads'):
        Attention(16, 3)


def test_layer_scale_multiplies_both_branches():
    plain, scaled = Block(16, 2), Block(16, 2, layer_scale=0.0)
    x = torch.randn(2, 5, 16)
    assert not torch.equal(plain(x), x)
    assert torch.equal(scaled(x), x)
    scaled.gamma_2.data.fill_(1.0)
    assert torch.equal(scaled(x), x + scaled.mlp(scaled.norm2(x)))


def test_drop_path_grows_linearly_and_is_off_in_evaluation():
    model = VisionTransformer(arch(depth=3), img_size=32, drop_path_rate=0.4)
    rates = [getattr(block.drop_path, 'drop_prob', 0.0) for block in model.blocks]
    assert rates == pytest.approx([0.0, 0.2, 0.4])
    block, x = Block(16, 2, drop_path=0.99), torch.randn(64, 5, 16)
    assert (block(x) == x).flatten(1).all(1).any()
    assert not (block.eval()(x) == x).flatten(1).all(1).any()


def test_layer_ids_rise_from_the_patches_to_the_head():
    model = VisionTransformer(arch(depth=3), img_size=32)
    names = [name for name, _ in model.named_parameters()]
    ids = {name: model.layer_id(name) for name in names}
    assert {ids[n] for n in ('cls_token', 'pos_embed', 'patch_embed.proj.weight')} == {0}
    assert {ids[n] for n in names if n.startswith('blocks.2.')} == {3}
    for other in ('dist_token', 'norm.weight', 'fc_norm.bias'):
        assert model.layer_id(other) == 4


def test_any_multiple_of_the_patch_is_an_input():
    model = VisionTransformer(arch(), img_size=32)
    torch.nn.init.normal_(model.pos_embed)
    tokens, grid = model.embed(torch.randn(2, 3, 48, 16))
    assert grid == (6, 2)
    assert tokens.shape == (2, 13, 16)


def test_embedding_puts_the_class_token_first_and_adds_positions():
    model, pixels = VisionTransformer(arch(), img_size=32), images(2)
    torch.nn.init.normal_(model.pos_embed)
    torch.nn.init.normal_(model.cls_token)
    tokens, _ = model.embed(pixels)
    assert torch.equal(tokens[0, 0], (model.cls_token + model.pos_embed[:, :1])[0, 0])
    assert torch.equal(tokens[:, 1:], model.patch_embed(pixels) + model.pos_embed[:, 1:])


def test_norms_have_the_published_epsilon():
    norms = [m for m in Block(16, 2).modules() if isinstance(m, torch.nn.LayerNorm)]
    assert [norm.eps for norm in norms] == [1e-6, 1e-6]


def test_initialisation_is_truncated_normal_with_zero_biases():
    block = Block(64, 2)
    init_linears(block, partial(torch.nn.init.trunc_normal_, std=0.02))
    assert block.mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not block.attn.qkv.bias.any()


KINDS = {
    'G2SDViT': dict(out_type='cls_token'),
    'G2SDViTDet': dict(pretrain_img_size=IMAGE, window_size=2, global_blocks=(1,)),
    'G2SDViTSeg': dict(out_indices=(0, 1)),
}


def backbone(kind: str, stages: int) -> nn.Module:
    cfg = dict(type=kind, arch=arch(16), img_size=IMAGE, drop_path_rate=0.5, frozen_stages=stages)
    model = MODELS.build({**cfg, **KINDS[kind]})
    model.init_weights()
    return model


def frozen(model: nn.Module) -> set[str]:
    return {n for n, parameter in model.named_parameters() if not parameter.requires_grad}


def below(model: nn.Module, *places: str) -> set[str]:
    return {name for name, _ in model.named_parameters() if name.startswith(places)}


@pytest.mark.parametrize('kind', KINDS)
def test_the_embedding_then_the_blocks_then_the_norm_are_frozen(kind):
    embedding = 'patch_embed', 'pos_embed', 'cls_token'
    for stages, parts in {
        -1: (), 0: embedding, 1: (*embedding, 'blocks.0.'),
        2: (*embedding, 'blocks.', 'norm.'),
    }.items():  # fmt: skip
        model = backbone(kind, stages)
        assert frozen(model) == (below(model, *parts) if parts else set()), stages


@pytest.mark.parametrize('kind', KINDS)
def test_frozen_blocks_stay_in_evaluation_mode(kind):
    model = backbone(kind, 1)
    for mode in (True, False, True):
        model.train(mode)
        assert [block.training for block in model.blocks] == [False, mode]
        assert not model.patch_embed.training
    assert 'blocks.1.mlp.fc1.weight' not in frozen(model)


@pytest.mark.parametrize('kind', KINDS)
def test_an_update_leaves_frozen_parameters_alone(kind):
    """Weight decay included, which needs no gradient."""
    model = backbone(kind, 1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    settings = dict(optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.5))
    wrapper = ViTLayerDecayConstructor(settings, dict(layer_decay_rate=0.5))(model)
    held = {id(p) for group in wrapper.optimizer.param_groups for p in group['params']}
    named = dict(model.named_parameters())
    assert held == {id(p) for name, p in named.items() if name not in frozen(model)}
    wrapper.update_params(sum(out.square().mean() for out in model(images())))
    changed = {name for name, p in named.items() if not torch.equal(p, before[name])}
    assert not changed & frozen(model)
    assert 'blocks.1.attn.qkv.weight' in changed


@pytest.mark.parametrize('stages', [-2, 3])
def test_blocks_that_there_are_not_cannot_be_frozen(stages):
    with pytest.raises(UserError, match=rf'model\.backbone\.frozen_stages={stages}.*-1\.\.2'):
        backbone('G2SDViT', stages)
