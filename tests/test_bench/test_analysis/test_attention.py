"""Weights that the fused kernels never give, distances and entropies."""

from __future__ import annotations

import json
import math

import pytest
import torch

from g2sd_mm.bench.analysis.attention import (
    attention_reach,
    attention_weights,
    entropy,
    look,
    mean_distance,
    patch_distances,
)
from g2sd_mm.models.decomposed_attention import DecomposedAttention
from g2sd_mm.models.table_attention import TableAttention
from g2sd_mm.models.vit import Attention

from .networks import SIZE, pictures, student

GRID = (3, 4)


def tokens(extra: int = 1, dim: int = 16) -> torch.Tensor:
    return torch.randn(2, 12 + extra, dim, generator=torch.Generator().manual_seed(0))


def randomised(attention: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(0)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return attention.requires_grad_(False)


@pytest.mark.parametrize(
    ('attention', 'extra'),
    [
        (Attention(16, 2), 1),
        (TableAttention(16, 2, GRID), 1),
        (DecomposedAttention(16, 2, GRID), 0),
    ],
    ids=['plain', 'table', 'decomposed'],
)
def test_weights_applied_to_the_values_are_what_the_attention_gives(attention, extra):
    attention, x = randomised(attention), tokens(extra)
    weights = attention_weights(attention, x, GRID)
    N = x.shape[1]
    assert weights.shape == (2, 2, N, N)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, N))
    v = attention.qkv(x).reshape(2, N, 3, 2, 8).permute(2, 0, 3, 1, 4)[2]
    out = attention.proj((weights @ v).transpose(1, 2).reshape(2, N, 16))
    torch.testing.assert_close(out, attention(x, GRID), atol=1e-5, rtol=1e-4)


def test_distances_are_between_patch_centres():
    d = patch_distances(GRID, 16)
    assert d.shape == (12, 12)
    assert d[0, 1] == 16 and d[0, 4] == 16 and d[0, 5] == pytest.approx(16 * math.sqrt(2))
    assert d[0, 11] == pytest.approx(16 * math.hypot(2, 3))


def test_looking_everywhere_alike_gives_the_mean_distance_of_the_grid():
    d = patch_distances(GRID, 16)
    uniform = torch.full((1, 1, 12, 12), 1 / 12, dtype=torch.float64)
    assert mean_distance(uniform, d).mean() == pytest.approx(d.mean())
    assert entropy(uniform).flatten().tolist() == pytest.approx([math.log(12)] * 12)


def test_looking_at_oneself_has_neither_distance_nor_entropy():
    own = torch.eye(12, dtype=torch.float64).expand(1, 1, 12, 12)
    assert mean_distance(own, patch_distances(GRID, 16)).abs().max() == 0
    assert entropy(own).abs().max() == 0


def test_what_goes_to_other_tokens_counts_in_proportion():
    half = 0.5 * torch.eye(12, dtype=torch.float64).roll(1, 1).expand(1, 1, 12, 12)
    d = patch_distances(GRID, 1)
    assert mean_distance(half, d)[0, 0, 0] == d[0, 1]


def blind(attention: torch.nn.Module) -> torch.nn.Module:
    """All queries and keys alike: every token looks at all tokens equally."""
    torch.nn.init.zeros_(attention.qkv.weight)
    torch.nn.init.zeros_(attention.qkv.bias)
    return attention.requires_grad_(False)


@pytest.mark.parametrize('extra', [1, 2])
def test_class_and_dist_token_are_no_patches(extra):
    seen = look(blind(Attention(16, 2)), tokens(extra), GRID, patch=8)
    assert seen['distance'].tolist() == pytest.approx([patch_distances(GRID, 8).mean().item()] * 2)
    assert seen['entropy'].tolist() == pytest.approx([math.log(12 + extra)] * 2)
    assert seen['bound'].tolist() == pytest.approx([math.log(12 + extra)] * 2)


def only_the_class_token() -> torch.Tensor:
    """Input of an attention whose patches all look at the class token, and at nothing else."""
    x = torch.ones(2, 13, 16)
    x[:, 0] = -1.0
    return x


def far(sharpness: float) -> torch.nn.Module:
    """Queries are minus the keys, times ``sharpness``: what is unlike draws the eye."""
    attention = blind(Attention(16, 2))
    attention.qkv.weight[:16] = -sharpness * torch.eye(16)
    attention.qkv.weight[16:32] = torch.eye(16)
    return attention


def test_patches_that_look_at_no_patch_have_no_distance():
    """Weights in float32 become zero; a weight of next to nothing still has its distance."""
    x = only_the_class_token()
    assert look(far(1e3), x, GRID, patch=8)['distance'].isnan().all()
    mean = patch_distances(GRID, 8).mean().item()
    assert look(far(1.0), x, GRID, patch=8)['distance'].tolist() == pytest.approx([mean] * 2)
    x[1, 0] = 1.0  # in the other image all tokens are alike
    assert look(far(1e3), x, GRID, patch=8)['distance'].tolist() == pytest.approx([mean] * 2)


def test_heads_without_a_distance_are_left_open(tmp_path, monkeypatch):
    import g2sd_mm.bench.analysis.attention as module

    def one_eyed(attention, x, grid, patch):
        nan, one = float('nan'), torch.ones(4)
        distance = torch.tensor([nan, 8.0, 8.0, nan]) if len(x) == 10 else one * 2
        return {'distance': distance + torch.tensor([0, 0, 0, nan]), 'entropy': one, 'bound': one}

    monkeypatch.setattr(module, 'look', one_eyed)
    found = attention_reach({'teacher': student(tmp_path, 'segmentation')},
                            pictures(12, SIZE['segmentation']))
    for heads in found['networks']['teacher']['distance']:
        assert heads == [2.0, 7.0, 7.0, None]
    json.dumps(found, allow_nan=False)


def test_windows_bound_the_distance_and_padding_asks_nothing():
    """3 x 4 patches in windows of 2: the lower windows have a padded row."""
    attention = blind(DecomposedAttention(16, 2, GRID, window=2))
    inside = patch_distances((2, 2), 8).mean().item()
    seen = look(attention, tokens(0), GRID, patch=8)
    assert seen['distance'].tolist() == pytest.approx([inside] * 2)
    assert seen['entropy'].tolist() == pytest.approx([math.log(4)] * 2)
    # by hand: queries of the image alone
    attention = randomised(DecomposedAttention(16, 2, GRID, window=2))
    x = tokens(0)
    asks = torch.ones(2, 3, 4, dtype=torch.bool)
    padded = torch.cat([x.view(2, 3, 4, 16), torch.zeros(2, 1, 4, 16)], dim=1)
    asks = torch.cat([asks, torch.zeros(2, 1, 4, dtype=torch.bool)], dim=1)
    windows = padded.view(2, 2, 2, 2, 2, 16).transpose(2, 3).reshape(8, 4, 16)
    asks = asks.view(2, 2, 2, 2, 2).transpose(2, 3).reshape(8, 4)
    spread = entropy(attention_weights(attention, windows, (2, 2)).double()).transpose(1, 2)
    expected = spread[asks].mean(0)
    found = look(attention, x, GRID, patch=8)['entropy']
    torch.testing.assert_close(found, expected)


def test_every_block_and_head_of_every_network_is_looked_at(networks):
    seen = []
    found = attention_reach(networks, pictures(12), advance=seen.append)
    assert list(found['networks']) == ['teacher', 'g2sd']
    one = found['networks']['g2sd']
    assert torch.tensor(one['distance']).shape == torch.tensor(one['entropy']).shape == (4, 2)
    assert one['bound'] == pytest.approx([math.log(51)] * 4)  # 49 patches, class and dist token
    assert found['networks']['teacher']['bound'] == pytest.approx([math.log(50)] * 4)
    distances = torch.tensor(one['distance'])
    assert (distances > 0).all() and (distances < 56 * math.sqrt(2)).all()
    assert sum(seen) == 24
    assert not networks['g2sd'].model.backbone.blocks[0].attn._forward_pre_hooks


@pytest.mark.parametrize('task', ['detection', 'segmentation'])
def test_backbones_of_the_other_tasks(tmp_path, task):
    found = attention_reach({'teacher': student(tmp_path, task)}, pictures(2, SIZE[task]))
    entropies = torch.tensor(found['networks']['teacher']['entropy'])
    bounds = torch.tensor(found['networks']['teacher']['bound'])
    assert (entropies > 0).all() and (entropies <= bounds[:, None] + 1e-6).all()
