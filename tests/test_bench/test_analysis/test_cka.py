"""CKA: what it must not see, what it must see, and that batches do not matter."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from g2sd_mm.bench.analysis.cka import LayerCKA, compare_layers, linear_gram, unbiased_hsic
from g2sd_mm.errors import UserError

from .networks import pictures, student


def features(n: int = 40, p: int = 12, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cka(x: torch.Tensor, y: torch.Tensor) -> float:
    total = LayerCKA()
    total.add([x], [y])
    return total.value().item()


def test_features_are_like_themselves():
    assert cka(features(), features()) == pytest.approx(1)


def test_rotation_scale_and_shift_do_not_matter():
    x = features()
    rotation = torch.linalg.qr(features(12, 12, seed=1)).Q
    assert cka(x, 3.5 * x @ rotation + 7) == pytest.approx(1)


def test_other_linear_maps_do_matter():
    x = features()
    assert cka(x, x * torch.linspace(0.05, 3, 12)) < 0.95


def test_it_is_symmetric_and_takes_other_widths():
    x, y = features(p=12), torch.cat([features(p=12)[:, :5], features(p=30, seed=2)], dim=1)
    assert cka(x, y) == pytest.approx(cka(y, x))
    assert 0.05 < cka(x, y) < 0.9


def test_unrelated_features_of_many_channels_give_zero():
    """The plain estimate would give nearly 1 here: 2,000 channels of 40 examples."""
    x, y = features(p=2000), features(p=2000, seed=1)
    k, m = (linear_gram(z) for z in (x, y))
    plain = (k * m).sum() / (k.norm() * m.norm())
    assert plain > 0.9
    assert abs(cka(x, y)) < 0.05


def test_hsic_is_the_mean_over_quadruples():
    """Against the definition of the U-statistic, term by term (Song et al. 2012, section 2.3)."""
    from itertools import permutations

    x, y = features(6, 3), features(6, 2, seed=1)
    k, m = x @ x.T, y @ y.T
    terms = [
        k[i, j] * m[i, j] + k[i, j] * m[q, r] - 2 * k[i, j] * m[i, q]
        for i, j, q, r in permutations(range(6), 4)
    ]
    expected = torch.stack(terms).mean().item()
    assert unbiased_hsic(k, m).item() == pytest.approx(expected)
    # centring the features changes nothing
    assert unbiased_hsic(linear_gram(x), linear_gram(y)).item() == pytest.approx(expected)


def test_batches_add_up_to_the_mean_of_their_terms():
    x, y = features(80), features(80, seed=3) + features(80)
    total = LayerCKA()
    for part in (slice(0, 40), slice(40, 80)):
        total.add([x[part]], [y[part]])
    hsic = [
        sum(unbiased_hsic(linear_gram(a[p]), linear_gram(b[p])) for p in (slice(40), slice(40, 80)))
        for a, b in ((x, y), (x, x), (y, y))
    ]
    assert total.value().item() == pytest.approx((hsic[0] / (hsic[1] * hsic[2]).sqrt()).item())


def test_three_examples_are_too_few():
    with pytest.raises(ValueError, match='needs four examples, got 3'):
        unbiased_hsic(torch.eye(3), torch.eye(3))


def test_a_network_is_like_itself_block_by_block(networks):
    seen = []
    same = {'teacher': networks['teacher'], 'copy': networks['teacher'], 'g2sd': networks['g2sd']}
    found = compare_layers(same, pictures(10), batch=5, advance=seen.append)
    copy, other = (torch.tensor(found['cka'][name]) for name in ('copy', 'g2sd'))
    assert copy.shape == other.shape == (4, 4)
    assert copy.diagonal().tolist() == pytest.approx([1] * 4)
    assert copy[0, 3] < 1 - 1e-5
    assert other.diagonal().max() < 0.999
    assert sum(seen) == 3 * 10
    assert found['teacher'] == 'teacher'
    assert not networks['teacher'].model.backbone.blocks[0]._forward_hooks


def test_a_rest_smaller_than_a_batch_is_left_out(networks):
    images = pictures(13)
    whole, part = (compare_layers(networks, i, batch=5) for i in (images, images[:10]))
    assert whole == part and whole['images'] == 10
    assert compare_layers(networks, images)['images'] == 13


def test_fewer_than_four_images_are_refused(networks):
    with pytest.raises(UserError, match=r'4 images.* have 3'):
        compare_layers(networks, pictures(3))


def test_another_librarys_backbone_is_refused(networks):
    teacher, *_ = networks.values()
    odd = SimpleNamespace(model=SimpleNamespace(backbone=torch.nn.Linear(1, 1)))
    with pytest.raises(UserError, match='odd has a Linear'):
        compare_layers({'teacher': teacher, 'odd': odd}, pictures(4))


def test_of_layers_that_say_the_same_of_all_images_nothing_is_known(networks):
    total = LayerCKA()
    total.add([features(), torch.ones(40, 3)], [features()])
    assert total.value()[0].item() == pytest.approx(1) and total.value()[1].isnan().all()
    found = compare_layers(networks, pictures(1).repeat(4, 1, 1, 1))['cka']['g2sd']
    assert found == [[None] * 4] * 4


@pytest.mark.parametrize('task', ['detection', 'segmentation'])
def test_backbones_of_the_other_tasks_are_compared_too(tmp_path, task):
    network = student(tmp_path, task)
    found = compare_layers({'teacher': network, 'same': network}, pictures(4, 64), batch=4)
    values = torch.tensor(found['cka']['same'])
    assert values.diagonal().tolist() == pytest.approx([1] * len(values))
