"""A small ViT as a slice of a large one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from g2sd_mm.errors import ConfigError
from g2sd_mm.models import G2SDViT, G2SDViTDet, G2SDViTSeg
from g2sd_mm.models.slicing import Moments, slice_of

WIDE = dict(embed_dim=48, depth=3, num_heads=4, patch_size=8)
NARROW = dict(embed_dim=24, depth=3, num_heads=2, patch_size=8)
IMAGES = torch.randn(12, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def vit(size, kind=G2SDViT, seed=0, **options):
    torch.manual_seed(seed)
    network = kind(size, 32, **options)
    network.init_weights()
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1 or 'pos_embed' in name or 'rel' in name:
            nn.init.normal_(parameter, std=0.3)
            if name.endswith('norm1.weight') or name.endswith('norm2.weight') or 'gamma' in name:
                parameter.data.add_(1.0)
        elif name.endswith(('qkv.weight', 'proj.weight', 'fc1.weight', 'fc2.weight')):
            parameter.data.mul_(3.0)  # heads and neurons say something, each another thing
    return network.eval()


def moments_of(network, images=IMAGES):
    moments = Moments()
    with torch.no_grad(), moments.record(network):
        network(images)
    return moments


def low_rank(network, width):
    """Let a network's residual stream, its heads and neurons lie in half of their places."""
    for name, tensor in network.state_dict().items():
        if name in ('cls_token', 'pos_embed'):
            tensor[..., width:] = 0
        elif name.startswith('patch_embed') or name.endswith(('proj.weight', 'fc2.weight')):
            tensor[width:] = 0
        if name.endswith(('proj.bias', 'fc2.bias')):
            tensor[width:] = 0
        if name.endswith('attn.proj.weight'):
            tensor[:, width:] = 0
        if name.endswith('mlp.fc2.weight'):
            tensor[:, 4 * width :] = 0
    return network


@pytest.mark.parametrize('kind', [G2SDViT, G2SDViTDet, G2SDViTSeg])
def test_what_lies_in_fewer_directions_heads_and_neurons_is_kept_whole(kind):
    options = {
        G2SDViTDet: dict(global_blocks=(1,), window_size=3, pretrain_img_size=32),
        G2SDViTSeg: dict(out_indices=(0, 2)),
    }.get(kind, {})
    large = low_rank(vit(WIDE, kind, **options), 22)
    small = vit(NARROW, kind, 1, **options)
    moments = moments_of(large)
    found = slice_of(large, moments, small)
    missing, unexpected = small.load_state_dict(found.state, strict=False)
    assert not missing and not unexpected
    assert found.kept == pytest.approx(1.0, abs=1e-6)
    torch.testing.assert_close(found.basis.T @ found.basis, torch.eye(24, dtype=torch.float64))
    ours, theirs = [], []
    small.blocks[-1].register_forward_hook(lambda m, i, o: ours.append(o))
    large.blocks[-1].register_forward_hook(lambda m, i, o: theirs.append(o))
    with torch.no_grad():
        small(IMAGES), large(IMAGES)
    centred = theirs[0] - theirs[0].mean(-1, keepdim=True)
    wanted = centred @ found.basis.float()
    left = (ours[0] - wanted).square().mean() / wanted.square().mean()
    assert left < 0.035  # scales are those of the mean token


def test_heads_and_neurons_that_add_nothing_are_left_out():
    large, small = (vit(size, G2SDViTSeg, out_indices=(2,)) for size in (WIDE, NARROW))
    heads, neurons = [1, 3], list(range(1, 192, 2))
    channels = [12 * head + i for head in heads for i in range(12)]
    with torch.no_grad():
        for block in large.blocks:
            for linear, kept in ((block.attn.proj, channels), (block.mlp.fc2, neurons)):
                rest = torch.ones(linear.in_features, dtype=torch.bool)
                rest[kept] = False
                linear.weight[:, rest] = 0
    found = slice_of(large, moments_of(large), small)
    for i, block in enumerate(large.blocks):
        name = 'relative_position_bias_table'
        table = getattr(block.attn, name)
        assert torch.equal(found.state[f'blocks.{i}.attn.{name}'], table[:, heads])
        _, bias = found.behind(block.norm1, f'blocks.{i}.norm1', block.attn.qkv)
        rows = [part * 48 + channel for part in range(3) for channel in channels]
        assert torch.equal(found.state[f'blocks.{i}.attn.qkv.bias'], bias[rows])
        _, bias = found.behind(block.norm2, f'blocks.{i}.norm2', block.mlp.fc1)
        assert torch.equal(found.state[f'blocks.{i}.mlp.fc1.bias'], bias[neurons])


def test_the_mean_that_norms_take_out_is_the_least_of_what_is_kept():
    large, small = vit(WIDE), vit(NARROW)
    moments = moments_of(large)
    basis = slice_of(large, moments, small).basis
    total = sum(gram / gram.trace() for gram in moments.norms.values())
    kept = basis.T @ total @ basis
    mean = torch.full((24,), 24**-0.5, dtype=torch.float64)
    torch.testing.assert_close(mean @ kept @ mean, torch.linalg.eigvalsh(kept)[0])
    torch.testing.assert_close(torch.linalg.eigvalsh(kept), torch.linalg.eigvalsh(total)[-24:])


def test_a_linear_layer_behind_the_last_norm_is_cut_along():
    large, small = low_rank(vit(WIDE), 22), vit(NARROW, seed=1)
    head = nn.Linear(48, 5)
    found = slice_of(large, moments_of(large), small)
    small.load_state_dict(found.state, strict=False)
    weight, bias = found.behind(large.fc_norm, 'fc_norm', head)
    with torch.no_grad():
        wanted, got = head(large(IMAGES)[0]), nn.functional.linear(small(IMAGES)[0], weight, bias)
    assert (got - wanted).square().mean() / wanted.var() < 0.1
    assert (got.argmax(1) == wanted.argmax(1)).float().mean() > 0.9


def test_a_slice_is_nearer_than_random_weights_where_something_is_lost():
    large, small = vit(WIDE), vit(NARROW, seed=1)
    found = slice_of(large, moments_of(large), small)
    assert 0.5 < found.kept < 1
    wanted = []
    large.blocks[-1].register_forward_hook(lambda m, i, o: wanted.append(o))
    with torch.no_grad():
        large(IMAGES)
    explained = []
    for state in (small.state_dict(), found.state):
        small.load_state_dict(state, strict=False)
        ours = []
        handle = small.blocks[-1].register_forward_hook(lambda m, i, o, ours=ours: ours.append(o))
        with torch.no_grad():
            small(IMAGES)
        handle.remove()
        x = nn.functional.pad(ours[0].flatten(0, 1), (0, 1), value=1.0).double()
        y = wanted[0].flatten(0, 1).double()
        left = y - x @ torch.linalg.lstsq(x, y).solution
        explained.append(1 - float(left.square().sum() / (y - y.mean(0)).square().sum()))
    assert explained[1] > explained[0] + 0.05


def test_the_small_network_is_not_changed():
    large, small = vit(WIDE), vit(NARROW, seed=1)
    before = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    slice_of(large, moments_of(large), small)
    assert all(torch.equal(before[name], tensor) for name, tensor in small.state_dict().items())


@pytest.mark.parametrize(
    'other',
    [dict(depth=2), dict(num_heads=4), dict(patch_size=16), dict(embed_dim=96, num_heads=8)],
)
def test_another_shape_is_refused_with_both_sizes(other):
    large, small = vit(WIDE), vit({**NARROW, **other})
    with pytest.raises(ConfigError, match=r'distillation\.sliced.*arch'):
        slice_of(large, moments_of(large), small)
