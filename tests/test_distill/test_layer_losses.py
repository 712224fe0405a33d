"""Losses on layers, attention and maps against plain NumPy formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from torch import Tensor

from g2sd_mm.distill.losses.common import mean_row_divergence
from g2sd_mm.distill.losses.feature import unit_l1_feature_loss
from g2sd_mm.distill.losses.layers import (
    head_importance,
    layer_pairs,
    layerwise_mse,
    manifold_loss,
)
from g2sd_mm.distill.losses.relation import token_relation_loss

from ..helpers.gradients import check, normal, softmax
from ..helpers.toys import refused

B, N, H = 2, 5, 3


def unit(x):
    return x / np.sqrt((x**2).sum(-1, keepdims=True))


def divergence(own, other):
    """Mean over rows of KL(softmax(other) || softmax(own))."""
    p, q = softmax(other), softmax(own)
    return (p * np.log(p / q)).sum(-1).mean()


def test_layers_are_compared_uniformly():
    assert layer_pairs(4, 4) == [0, 1, 2, 3]
    assert layer_pairs(4, 12) == [2, 5, 8, 11]
    assert layer_pairs(5, 13, with_embedding=True) == [0, 3, 6, 9, 12]
    for own, theirs in ((4, 6), (4, 2), (0, 4)):
        with refused(f'has {theirs} for', f'{own}'):
            layer_pairs(own, theirs)


@pytest.mark.parametrize('deeper', [1, 2])
@pytest.mark.parametrize('shape', [(B, H, N, N), (B, N, 4)])
def test_layerwise_mse_is_a_sum_over_layers(shape, deeper):
    own = [normal(*shape, seed=i) for i in range(3)]
    other = [normal(*shape, seed=10 + i) for i in range(3 * deeper)]

    def plain(*layers):
        used = other[deeper - 1 :: deeper]
        return sum(((x - y) ** 2).mean() for x, y in zip(layers, used, strict=True))

    check(lambda *layers: layerwise_mse(layers, list(map(torch.from_numpy, other))), plain, own)


def test_layerwise_mse_needs_as_many_heads():
    with refused('[2, 3, 5, 5]', '[2, 6, 5, 5]', 'as many heads'):
        layerwise_mse([torch.zeros(2, 3, 5, 5)], [torch.zeros(2, 6, 5, 5)])


def test_a_shared_projection_is_one_map_for_all_layers():
    adapter = MODELS.build(dict(type='TokenAdapter', in_channels=3, out_channels=4))
    layers = [torch.randn(2, 5, 3) for _ in range(3)]
    adapted = adapter(layers)
    assert all(torch.equal(x, adapter(y)) for x, y in zip(adapted, layers, strict=True))
    assert sum(p.numel() for p in adapter.parameters()) == 4 * 3 + 4


def test_norm_and_linear_is_the_head_of_proteus():
    head = MODELS.build(dict(type='NormLinearAdapter', in_channels=3, out_channels=4)).double()
    x = normal(2, 5, 3)
    weight, bias = (p.detach().numpy() for p in head[1].parameters())
    normed = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    assert np.allclose(head(torch.from_numpy(x)).detach().numpy(), normed @ weight.T + bias)


@pytest.mark.parametrize('pairs', [('qk', 'vv'), ('qq', 'kk', 'vv')])
def test_relations_of_chosen_pairs(pairs):
    heads, own, other = 2, [normal(B, N, 4, seed=i) for i in range(3)], []
    other = [normal(B, N, 8, seed=5 + i) for i in range(3)]

    def logits(x, y):
        x, y = (t.reshape(B, N, heads, -1).transpose(0, 2, 1, 3) for t in (x, y))
        return x @ y.transpose(0, 1, 3, 2) / np.sqrt(x.shape[-1])

    def plain(*qkv):
        index = ['qkv'.index(letter) for pair in pairs for letter in pair]
        return np.mean([
            divergence(logits(qkv[x], qkv[y]), logits(other[x], other[y]))
            for x, y in zip(index[::2], index[1::2], strict=True)
        ])

    theirs = [tuple(map(torch.from_numpy, other))]
    check(lambda *qkv: token_relation_loss([qkv], theirs, heads, pairs), plain, own)
    module = MODELS.build(dict(type='TokenRelationLoss', heads=heads, pairs=pairs))
    packed = [torch.from_numpy(np.concatenate(side, -1)) for side in (own, other)]
    assert module(*packed).item() == pytest.approx(plain(*own))
    with pytest.raises(ValueError, match=r"pairs='kx' is none of qq, qk"):
        MODELS.build(dict(type='TokenRelationLoss', pairs=['kx']))


def test_manifold_is_three_sums_of_similarities():
    other, chosen = normal(B, N, 6, seed=1), torch.tensor([0, 3, 3, 9])

    def gap(x, y):
        return ((y @ y.T - x @ x.T) ** 2).mean()

    def plain(x):
        x, y = unit(x), unit(other)
        images = np.mean([gap(x[b], y[b]) for b in range(B)])
        places = np.mean([gap(x[:, n], y[:, n]) for n in range(N)])
        drawn = gap(x.reshape(B * N, -1)[chosen], y.reshape(B * N, -1)[chosen])
        return 2 * places + 3 * images + 5 * drawn

    check(
        lambda x: manifold_loss(x, torch.from_numpy(other), chosen, sample=2, patch=3, random=5),
        plain, [normal(B, N, 4)],
    )  # fmt: skip


def test_manifold_takes_the_ends_and_leaves_out_the_class_token():
    loss = MODELS.build(dict(type='ManifoldLoss', ends=1, number=100))
    student = [torch.randn(B, 1 + N, 4) for _ in range(3)]
    teacher = [torch.randn(B, 1 + N, 6) for _ in range(5)]
    torch.manual_seed(0)
    value = loss(student, teacher)
    everything = torch.arange(B * N)
    pairs = [(student[0], teacher[0]), (student[-1], teacher[-1])]
    expected = sum(manifold_loss(x[:, 1:], y[:, 1:], everything) for x, y in pairs) / 2
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    with refused('ManifoldLoss.ends=1', '0 layers'):
        loss([], teacher)
    with refused('[2, 4, 4]', '[2, 5, 6]', 'behind one class token'):
        loss([x[:, 1:] for x in student], teacher)


def test_head_attention_is_a_divergence_over_rows():
    other = normal(B, N, N, seed=1)
    check(
        lambda x: mean_row_divergence(x, torch.from_numpy(other)),
        lambda x: divergence(x, other), [normal(B, N, N)],
    )  # fmt: skip


def test_the_surest_head_teaches():
    scores = torch.from_numpy(normal(B, H, N, N))
    expected = softmax(scores.numpy()).max(-1).mean((0, 2))
    assert np.allclose(head_importance(scores).numpy(), expected)
    loss = MODELS.build(dict(type='HeadAttentionLoss', teacher_heads=H, student_head=1))
    student = torch.from_numpy(normal(B, 2, N, N, seed=4))
    sure = scores.clone()
    sure[:, 2] *= 10
    expected = mean_row_divergence(student[:, 1], sure[:, 2])
    assert loss(student, sure).item() == pytest.approx(expected.item())
    # one batch does not outvote three
    for _ in range(2):
        loss(student, sure)
    other = scores.clone()
    other[:, 0] *= 10
    assert loss(student, other).item() == pytest.approx(
        mean_row_divergence(student[:, 1], other[:, 2]).item()
    )
    assert loss.seen == 4 and set(loss.state_dict()) == {'importance', 'seen'}
    known = loss.importance.clone()
    loss(torch.randn(2, 2, 5, 5), torch.full((2, 3, 5, 5), torch.nan))  # a step that is skipped
    assert loss.seen == 4 and torch.equal(loss.importance, known)
    before = loss.importance.clone()
    loss.eval()(student, other)
    assert torch.equal(loss.importance, before)


def test_head_attention_leaves_out_a_token_that_one_network_has_behind_the_others():
    loss = MODELS.build(dict(type='HeadAttentionLoss', teacher_heads=H))
    student, teacher = torch.randn(B, 2, N + 1, N + 1), torch.randn(B, H, N, N)
    assert torch.equal(loss(student, teacher), loss.eval()(student[..., :N, :N], teacher))
    with refused('teacher_heads=3', 'student_head=0', '4 heads'):
        loss(student, torch.randn(B, 4, N, N))


@pytest.mark.parametrize('more', [2, 4])  # registers behind the class token, another grid
def test_attention_and_relations_of_other_tokens_are_refused(more):
    loss = MODELS.build(dict(type='HeadAttentionLoss', teacher_heads=H))
    with refused(f'{N} tokens of the student', f'{N + more} of the teacher'):
        loss(torch.randn(B, 2, N, N), torch.randn(B, H, N + more, N + more))
    assert loss.seen == 0
    with refused(f'{N} tokens of the student', f'{N + more} of the teacher'):
        MODELS.build(dict(type='TokenRelationLoss'))(
            torch.randn(B, N, 6), torch.randn(B, N + more, 6)
        )


def test_unit_l1_is_that_of_dmae():
    other = normal(B, N, 4, seed=1)
    check(
        lambda x: unit_l1_feature_loss(x, torch.from_numpy(other)),
        lambda x: np.abs(unit(x) - unit(other)).mean(), [normal(B, N, 4)],
    )  # fmt: skip
    module = MODELS.build(dict(type='UnitL1FeatureLoss'))
    student, teacher = torch.randn(B, N, 4), torch.randn(B, N, 4)
    assert torch.equal(module(student, teacher), unit_l1_feature_loss(student, teacher))


# Generation ---------------------------------------------------------------------------------------


def convolved(x, layer):
    """A 3x3 convolution with padding 1 of [B, C, h, w], in NumPy."""
    weight, bias = (p.detach().numpy() for p in layer.parameters())
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    rows, columns = x.shape[2:]
    total = bias[None, :, None, None]
    for i in range(3):
        for j in range(3):
            window = padded[:, :, i : i + rows, j : j + columns]
            total = total + np.einsum('oc,bchw->bohw', weight[:, :, i, j], window)
    return total


def generated(x, layers):
    return convolved(np.maximum(convolved(x, layers[0]), 0), layers[2])


def drawn(shape, seed=7) -> Tensor:
    torch.manual_seed(seed)
    return torch.rand(shape)


def test_masked_generation_is_the_published_formula():
    loss = MODELS.build(
        dict(type='MaskedGenerationLoss', channels=3, student_channels=2, levels=2,
             mask_ratio=0.4, loss_weight=0.5)
    ).double()  # fmt: skip
    own = [normal(B, 2, 4, 4), normal(B, 2, 2, 2, seed=1)]
    other = [normal(B, 3, 4, 4, seed=2), normal(B, 3, 2, 2, seed=3)]

    def plain(*levels):
        torch.manual_seed(7)
        total = 0.0
        for x, y, align, layers in zip(levels, other, loss.align, loss.generate, strict=True):
            noise = torch.rand(B, 1, *x.shape[2:]).numpy()
            weight, bias = (p.detach().numpy() for p in align.parameters())
            x = np.einsum('oc,bchw->bohw', weight[:, :, 0, 0], x) + bias[None, :, None, None]
            total += ((generated(x * (noise >= 0.4), layers) - y) ** 2).sum() / B
        return 0.5 * total

    def ours(*levels):
        torch.manual_seed(7)
        return loss(levels, list(map(torch.from_numpy, other)))

    check(ours, plain, own)
    with refused('levels=2', '(2, 4, 4)'):
        loss(torch.from_numpy(own[0]), torch.from_numpy(other[0]))


def test_masked_generation_of_one_map_of_one_width_has_no_alignment():
    loss = MODELS.build(dict(type='MaskedGenerationLoss', channels=3))
    assert not list(loss.align.parameters())
    assert loss(torch.randn(B, 3, 4, 4), torch.randn(B, 3, 4, 4)).ndim == 0


def test_vitkd_is_the_published_formula():
    loss = MODELS.build(
        dict(type='ViTKDLoss', channels=3, student_channels=2, mask_ratio=0.25, alpha=0.5, beta=2.0)
    ).double()
    torch.nn.init.normal_(loss.mask_token)
    own = [normal(B, 5, 2, seed=i) for i in range(4)]
    other = [normal(B, 5, 3, seed=10 + i) for i in range(4)]

    def linear(x, layer):
        weight, bias = (p.detach().numpy() for p in layer.parameters())
        return x @ weight.T + bias

    def plain(*layers):
        layers, targets = ([layer[:, 1:] for layer in side] for side in (layers, other))
        low = sum(
            ((linear(layers[i], loss.imitate[i]) - targets[i]) ** 2).sum() / B for i in range(2)
        )
        rank = np.argsort(np.argsort(drawn((B, 4)).numpy(), axis=1), axis=1)
        hidden = (rank >= 3)[..., None]
        x = np.where(hidden, loss.mask_token.detach().numpy(), linear(layers[-1], loss.align))
        maps = generated(x.transpose(0, 2, 1).reshape(B, 3, 2, 2), loss.generate)
        high = ((maps.reshape(B, 3, 4).transpose(0, 2, 1) - targets[-1])[hidden[..., 0]] ** 2).sum()
        return 0.5 * low + 2.0 / 0.25 * high / B

    def ours(*layers):
        torch.manual_seed(7)
        return loss(layers, list(map(torch.from_numpy, other)))

    check(ours, plain, own)
    with refused('5 patches', '4 of the teacher'):
        loss([torch.zeros(B, 6, 2)] * 3, list(map(torch.from_numpy, other)))
