"""Masking, and noise that depends on a sample's seed and nothing else."""

from __future__ import annotations

import pytest
import torch
from mmengine.structures import BaseDataElement

from g2sd_mm.datasets import SampleKey
from g2sd_mm.models.masking import counter_noise, mask_noise, random_masking, some_hidden

from ..helpers.toys import images


def seeded(*seeds: int) -> list[BaseDataElement]:
    return [BaseDataElement(metainfo={'sample_seed': seed}) for seed in seeds]


@pytest.mark.parametrize(
    ('patches', 'ratio', 'kept'), [(196, 0.75, 49), (11, 0.75, 2), (9, 0.5, 4)]
)
def test_the_number_of_visible_patches_is_rounded_down(patches, ratio, kept):
    masking = random_masking(torch.rand(3, patches), ratio)
    assert masking.keep.shape == (3, kept)
    assert (masking.mask.sum(1) == patches - kept).all()


def test_visible_patches_are_the_smallest_noise_in_ascending_order():
    noise = torch.rand(4, 50)
    keep = random_masking(noise, 0.6).keep
    assert torch.equal(noise.gather(1, keep), noise.sort(dim=1).values[:, :20])


def test_the_mask_is_zero_exactly_at_visible_patches():
    masking = random_masking(torch.rand(4, 50), 0.6)
    assert masking.mask.dtype == torch.float32
    assert not masking.mask.gather(1, masking.keep).any()


def test_restore_undoes_the_shuffle():
    noise = torch.rand(4, 50)
    masking = random_masking(noise, 0.6)
    shuffled = noise.sort(dim=1).values
    assert torch.equal(shuffled.gather(1, masking.restore), noise)


def test_hiding_everything_is_refused():
    with pytest.raises(ValueError, match=r'mask_ratio 0\.99 leaves none of 16 patches visible'):
        random_masking(torch.rand(1, 16), 0.99)


def test_a_share_below_zero_is_refused():
    with pytest.raises(ValueError, match=r'mask_ratio -0\.5'):
        random_masking(torch.rand(1, 16), -0.5)


def test_noise_is_the_same_in_any_split_of_the_batch():
    whole = mask_noise(images(6), seeded(*range(6)), 16)
    parts = [mask_noise(images(2), seeded(i, i + 1), 16) for i in (0, 2, 4)]
    assert torch.equal(whole, torch.cat(parts))


def test_noise_does_not_touch_or_use_the_global_generator():
    before = torch.get_rng_state()
    noise = mask_noise(images(2), seeded(1, 2), 16)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(mask_noise(images(2), seeded(1, 2), 16), noise)


@pytest.mark.parametrize(
    'samples', [None, [], [BaseDataElement()], [*seeded(1), BaseDataElement()]]
)
def test_without_seeds_noise_comes_from_the_global_generator(samples):
    torch.manual_seed(5)
    first = mask_noise(images(2), samples, 16)
    torch.manual_seed(5)
    assert torch.equal(mask_noise(images(2), samples, 16), first)
    assert not torch.equal(mask_noise(images(2), samples, 16), first)


def test_noise_differs_between_samples_epochs_and_runs():
    keys = [SampleKey(0, 0, 0), SampleKey(1, 0, 0), SampleKey(0, 1, 0), SampleKey(0, 0, 1)]
    noise = mask_noise(images(4), seeded(*(key.sample_seed() for key in keys)), 196)
    correlation = torch.corrcoef(noise) - torch.eye(4)
    assert correlation.abs().max() < 0.3  # 4 standard deviations


def test_noise_is_uniform():
    seeds = torch.tensor([SampleKey(i, 0, 0).sample_seed() for i in range(1000)])
    noise = counter_noise(seeds, 196)
    assert noise.dtype == torch.float32
    assert noise.min() >= 0
    assert noise.max() < 1
    share = torch.histc(noise, 20, 0, 1) / noise.numel()
    assert torch.allclose(share, torch.tensor(1 / 20), atol=0.002)  # 4 standard deviations
    assert noise.mean(0).sub(0.5).abs().max() < 0.045  # of any position, over samples
    neighbours = torch.corrcoef(torch.stack([noise[:, :-1].flatten(), noise[:, 1:].flatten()]))
    assert neighbours[0, 1].abs() < 0.01


def test_neighbouring_seeds_give_unrelated_noise():
    noise = counter_noise(torch.arange(8), 2000)
    assert (torch.corrcoef(noise) - torch.eye(8)).abs().max() < 0.1


def test_noise_is_splitmix64():
    """First outputs of the reference generator from state 1234567, top 24 bits."""
    outputs = (6457827717110365317, 3203168211198807973, 9817491932198370423)
    expected = torch.tensor([(x >> 40) * 2.0**-24 for x in outputs])
    assert torch.equal(counter_noise(torch.tensor([1234567]), 3)[0], expected)


def test_some_hidden_patches_are_hidden_ones_of_least_noise():
    noise = torch.rand(3, 20)
    masking = random_masking(noise, 0.75)
    some = some_hidden(masking, 0.4)
    assert some.shape == (3, 6)
    assert masking.mask.gather(1, some).all()
    shuffled = noise.sort(dim=1).values
    assert torch.equal(noise.gather(1, some), shuffled[:, 5:11])
    assert some_hidden(masking, 1e-6).shape == (3, 1)
