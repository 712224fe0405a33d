"""The faster augmentations: pixels and draws of mmpretrain's, noise of the same distribution."""

from __future__ import annotations

import numpy as np
import pytest
from mmengine.registry import TRANSFORMS
from scipy import stats

from g2sd_mm.datasets import augmenting
from g2sd_mm.datasets.shapes.textures import random_crop

ALPHA = 0.001
AUGMENT = dict(
    type='RandAugment', num_policies=2, total_level=10, magnitude_level=9, magnitude_std=0.5,
    hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic'),
)
ERASE = dict(
    erase_prob=1.0, mode='rand', min_area_ratio=0.02, max_area_ratio=1 / 3,
    fill_color=[103.53, 116.28, 123.675], fill_std=[57.375, 57.12, 58.395],
)


def build(**step):
    return TRANSFORMS.build(dict(_scope_='mmpretrain', **step))


def run(transform, image: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    """The result, and the number that is drawn next."""
    np.random.seed(seed)
    return transform(dict(img=image.copy()))['img'], np.random.random()


def pictures() -> list[np.ndarray]:
    """Photographs, and images with one level, two, and few pixels."""
    rng = np.random.default_rng(0)
    plain = np.full((20, 30, 3), 77, np.uint8)
    half = plain.copy()
    half[:10] = 200
    dark = (random_crop(rng, 64, 64) // 8).astype(np.uint8)
    return [*(random_crop(rng, 56, 72) for _ in range(6)), plain, half, dark, plain[:2, :2]]


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('AutoContrast', {}),
        ('Equalize', {}),
        *(('Contrast', dict(magnitude=m)) for m in (0.0, 0.1, 0.37, 0.9, 1.0)),
        ('Contrast', dict(magnitude_range=(0, 0.9), magnitude_level=9, magnitude_std=0.5)),
    ],
)
def test_each_operation_gives_the_pixels_of_mmpretrains(name, options):
    plain, fast = build(type=name, **options), build(type=f'Fast{name}', **options)
    changed = 0
    for image in pictures():
        for seed in range(6):
            expected, found = run(plain, image, seed), run(fast, image, seed)
            assert found[0].dtype == np.uint8
            assert np.array_equal(found[0], expected[0])
            assert found[1] == expected[1]
            changed += not np.array_equal(found[0], image)
    assert changed > 5 or options.get('magnitude') == 0.0


def test_randaugment_gives_the_pixels_of_mmpretrains():
    plain = build(**AUGMENT, policies='timm_increasing')
    fast = build(**AUGMENT, policies='timm_increasing_fast')
    replaced = {policy['type'] for policy in fast.policies} - {p['type'] for p in plain.policies}
    assert replaced == {'FastAutoContrast', 'FastEqualize', 'FastContrast'}
    image = pictures()[0]
    for seed in range(200):
        expected, found = run(plain, image, seed), run(fast, image, seed)
        assert np.array_equal(found[0], expected[0])
        assert found[1] == expected[1]


def erased(name: str, seeds: range) -> tuple[list[np.ndarray], list[tuple[int, ...]]]:
    """Noise per channel, and the boxes [top, left, height, width] that it fills."""
    transform, values, boxes = build(type=name, **ERASE), [[], [], []], []
    for seed in seeds:
        image, _ = run(transform, np.zeros((64, 64, 3), np.uint8), seed)
        rows, columns = (np.flatnonzero(image.any(axis=(2, axis))) for axis in (1, 0))
        box = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        boxes.append((rows[0], columns[0], *box.shape[:2]))
        for channel in range(3):
            values[channel].append(box[..., channel].ravel())
    return [np.concatenate(v) for v in values], boxes


def test_erasing_draws_the_same_boxes_and_the_same_kind_of_noise():
    plain, boxes = erased('RandomErasing', range(60))
    fast, others = erased('FastRandomErasing', range(60))
    assert boxes == others
    for one, other in zip(plain, fast, strict=True):
        assert not np.array_equal(one, other)
        counts = [np.bincount(values, minlength=256) for values in (one, other)]
        seen = sum(counts) > 20
        assert stats.chi2_contingency([c[seen] for c in counts]).pvalue > ALPHA
        assert {one.min(), one.max()} == {other.min(), other.max()} == {0, 255}


def test_other_noise_would_be_seen():
    plain, _ = erased('RandomErasing', range(60))
    counts = [np.bincount(values, minlength=256) for values in (plain[0], plain[2])]
    seen = sum(counts) > 20
    assert stats.chi2_contingency([c[seen] for c in counts]).pvalue < ALPHA


def test_noise_follows_from_the_seed():
    transform = build(type='FastRandomErasing', **ERASE)
    image = np.zeros((64, 64, 3), np.uint8)
    first = run(transform, image, 3)[0]
    assert np.array_equal(run(transform, image, 3)[0], first)
    assert not np.array_equal(run(transform, image, 4)[0], first)


@pytest.mark.parametrize('other', [dict(mode='const'), dict(fill_std=None)])
def test_other_fillings_are_mmpretrains(other):
    options = {**ERASE, **other}
    image = np.zeros((64, 64, 3), np.uint8)
    plain, fast = (build(type=t, **options) for t in ('RandomErasing', 'FastRandomErasing'))
    for seed in range(5):
        assert np.array_equal(run(plain, image, seed)[0], run(fast, image, seed)[0])


def test_tables_of_one_level_change_nothing():
    counts = np.bincount([7] * 100, minlength=256)
    for table in (augmenting.stretching_table, augmenting.equalising_table):
        assert np.array_equal(table(counts), np.arange(256))
