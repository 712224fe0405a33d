"""One step for three: the same crops, flips and pixels as mmpretrain's, and the same distribution.

Statistical tests have fixed seeds and reject at ALPHA, each on its own.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS, TRANSFORMS
from scipy import stats
from torch.utils.data import DataLoader

from g2sd_mm.datasets import SampleKey
from g2sd_mm.datasets.cropping import reduction_of, resize
from g2sd_mm.datasets.decoding import EncodedImage
from g2sd_mm.datasets.shapes.textures import texture_bank

from ..helpers.toys import image_folder

ALPHA = 0.001
SIDE = 56
RANGE = (0.2, 1.0)
FLIP = 0.5


def stock(
    scale: int = SIDE, ratio: tuple[float, float] = RANGE, interpolation: str = 'bicubic'
):
    """mmpretrain's three steps."""
    steps = [
        TRANSFORMS.build(dict(_scope_='mmpretrain', **step))
        for step in (
            dict(type='LoadImageFromFile'),
            dict(type='RandomResizedCrop', scale=scale, crop_ratio_range=ratio, backend='pillow',
                 interpolation=interpolation),
            dict(type='RandomFlip', prob=FLIP, direction='horizontal'),
        )
    ]

    def run(results: dict) -> dict:
        for step in steps:
            results = step(results)
        return results

    return run


def ours(scale: int = SIDE, ratio: tuple[float, float] = RANGE, **options):
    """Our one step."""
    return TRANSFORMS.build(
        dict(type='LoadRandomResizedCrop', scale=scale, crop_ratio_range=ratio, flip_prob=FLIP,
             **options)
    )


def sample(transform, path: Path, seed: int) -> dict:
    np.random.seed(seed)
    return transform(dict(img_path=str(path)))


def write(path: Path, pixels: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return path


@pytest.fixture(scope='module')
def photographs(tmp_path_factory) -> list[Path]:
    """Photographs with fine texture, as JPEG of 375 x 500 px."""
    folder = tmp_path_factory.mktemp('photographs')
    images = [levels[0] for levels in texture_bank() if min(levels[0].shape[:2]) >= 300]
    return [
        write(folder / f'{i}.jpg', cv2.resize(image, (500, 375), interpolation=cv2.INTER_AREA))
        for i, image in enumerate(images)
    ]


@pytest.fixture(scope='module')
def ramp(tmp_path_factory) -> Path:
    """450 x 600 px, blue growing from left to right and green from top to bottom."""
    down, right = np.mgrid[0:450, 0:600]
    pixels = np.stack([right / 600 * 255, down / 450 * 255, 0 * down], axis=-1)
    return write(tmp_path_factory.mktemp('ramp') / 'ramp.jpg', pixels.round().astype(np.uint8))


def seen(image: np.ndarray) -> dict[str, float]:
    """What part of the ramp a crop shows, in shares of its sides, from the crop's pixels."""
    middles = (np.arange(len(image)) + 0.5) / len(image)
    across, down = (image[..., channel].astype(float) / 255 for channel in (0, 1))
    slope_x, left = np.polyfit(middles, across.mean(0), 1)
    slope_y, top = np.polyfit(middles, down.mean(1), 1)
    return dict(
        width=abs(slope_x), height=slope_y, top=top, left=min(left, left + slope_x),
        flip=float(slope_x < 0),
    )


# The same sample from the same seed ---------------------------------------------------------------


def test_crop_flip_and_what_follows_are_drawn_as_by_the_three_steps(ramp):
    flips, one_step, three_steps = 0, ours(reduce=False), stock()
    for seed in range(60):
        expected, state = sample(three_steps, ramp, seed), np.random.random(4)
        found = sample(one_step, ramp, seed)
        assert np.array_equal(np.random.random(4), state)
        for name in ('flip', 'flip_direction', 'ori_shape'):
            assert found[name] == expected[name]
        assert found['img_shape'] == expected['img_shape'][:2] == (SIDE, SIDE)
        flips += found['flip']
        here, there = seen(found['img']), seen(expected['img'])
        assert here == pytest.approx(there, abs=0.005)
    assert 15 < flips < 45


@pytest.mark.parametrize('scale', [SIDE, 224])
@pytest.mark.parametrize('interpolation', ['bicubic', 'bilinear'])
def test_pixels_are_pillows_up_to_rounding(photographs, scale, interpolation):
    """A mean of two levels of 255 would do; it is far less."""
    options = dict(scale=scale, interpolation=interpolation)
    three_steps, one_step = stock(**options), ours(**options, reduce=False)
    means = []
    for seed, path in enumerate(photographs * 4):
        expected = sample(three_steps, path, seed)['img'].astype(int)
        found = sample(one_step, path, seed)['img']
        difference = np.abs(found - expected)
        assert found.dtype == np.uint8
        assert difference.max() <= 2
        means.append(difference.mean())
    assert max(means) < 0.5
    assert np.mean(means) < 0.05


def test_reduced_decoding_changes_pixels_by_few_levels():
    """The figures of docs/performance.md: the same part of an image, in levels of 255."""
    differences = {2: [], 4: []}
    for levels in texture_bank():
        height, width = (side // 16 * 16 for side in levels[0].shape[:2])
        _, file = cv2.imencode('.jpg', levels[0][:height, :width], [cv2.IMWRITE_JPEG_QUALITY, 95])
        image = EncodedImage(file.tobytes())
        for reduction, found in differences.items():
            size = (int(height / reduction / 1.3), int(width / reduction / 1.3))
            whole = resize(image.decode(), size, 'bicubic').astype(int)
            found.append(np.abs(resize(image.decode(reduction), size, 'bicubic') - whole).mean())
    assert np.mean(differences[2]) == pytest.approx(1.3, abs=0.2)
    assert np.mean(differences[4]) == pytest.approx(1.7, abs=0.2)
    assert max(map(max, differences.values())) < 4


@pytest.mark.parametrize('seed', range(4))
def test_planes_are_another_layout_of_the_same_image(ramp, seed):
    plain, planes = (sample(ours(planes=p), ramp, seed)['img'] for p in (False, True))
    split = TRANSFORMS.build(dict(type='SplitPlanes'))(dict(img=plain))['img']
    assert plain.flags.c_contiguous
    for other in (planes, split):
        assert np.array_equal(other, plain)
        assert other.transpose(2, 0, 1).flags.c_contiguous  # PackInputs' order


def test_without_a_probability_nothing_is_drawn_for_the_flip(ramp):
    transform = TRANSFORMS.build(dict(type='LoadRandomResizedCrop', scale=SIDE))
    results = sample(transform, ramp, 0)
    after = np.random.random()
    np.random.seed(0)
    transform._crop.rand_crop_params(np.empty((450, 600)))
    assert np.random.random() == after
    assert (results['flip'], results['flip_direction']) == (False, None)


# The same distribution ----------------------------------------------------------------------------


@pytest.mark.parametrize('reduce', [True, False])
def test_crops_and_flips_are_distributed_as_by_the_three_steps(ramp, reduce):
    number = 400
    one_step, three_steps = ours(reduce=reduce), stock()
    a = [seen(sample(three_steps, ramp, seed)['img']) for seed in range(number)]
    b = [seen(sample(one_step, ramp, seed)['img']) for seed in range(1000, 1000 + number)]
    for name in ('width', 'height', 'top', 'left'):
        one, other = ([crop[name] for crop in crops] for crops in (a, b))
        assert stats.ks_2samp(one, other).pvalue > ALPHA, name
    flips = [[sum(crop['flip'] for crop in crops)] for crops in (a, b)]
    table = [[*row, number - row[0]] for row in flips]
    assert stats.chi2_contingency(table).pvalue > ALPHA


def test_the_tests_above_would_see_another_distribution(ramp):
    same, wider = stock(), ours(ratio=(0.08, 1.0))
    a = [seen(sample(same, ramp, seed)['img'])['width'] for seed in range(200)]
    b = [seen(sample(wider, ramp, seed)['img'])['width'] for seed in range(200)]
    assert stats.ks_2samp(a, b).pvalue < ALPHA


# A sample follows from its key --------------------------------------------------------------------


@pytest.fixture
def data(tmp_path):
    folder = image_folder(tmp_path / 'images', classes=2, each=5)
    pipeline = [
        dict(type='LoadRandomResizedCrop', scale=24, flip_prob=FLIP),
        dict(type='ColorJitter', brightness=0.4),
        dict(type='PackInputs'),
    ]
    inner = dict(
        _scope_='mmpretrain', type='CustomDataset', data_root=str(folder), pipeline=pipeline
    )
    return DATASETS.build(dict(type='SeededDataset', dataset=inner))


def test_seed_epoch_and_index_decide(data):
    first = data[SampleKey(3, 1, 5)]['inputs']
    assert first.shape == (3, 24, 24)
    assert torch.equal(data[SampleKey(3, 1, 5)]['inputs'], first)
    for other in (SampleKey(3, 1, 6), SampleKey(3, 2, 5), SampleKey(4, 1, 5)):
        assert not torch.equal(data[other]['inputs'], first)


def test_workers_read_what_the_main_process_reads(data):
    keys = [SampleKey(index, 2, 1) for index in range(10)]
    loader = DataLoader(data, batch_size=None, sampler=keys, num_workers=2)
    for key, item in zip(keys, loader, strict=True):
        assert torch.equal(item['inputs'], data[key]['inputs'])


@pytest.mark.parametrize(
    ('number', 'damage', 'message'),
    [
        (0, lambda content: content[:-200], 'cannot be read as an image (the JPEG ends too early)'),
        (1, lambda content: content[:200], 'cannot be read as an image'),
        (1, lambda content: b'no image', 'cannot be read as an image'),
        (0, None, 'no such file'),
    ],
)
def test_a_broken_image_is_replaced_and_named(data, number, damage, message):
    path = Path(data.get_data_info(number)['img_path'])
    assert path.suffix == ('.jpg', '.png')[number]
    if damage:
        path.write_bytes(damage(path.read_bytes()))
    else:
        path.unlink()
    (problem,) = data[number]['data_samples'].unreadable
    assert problem.startswith(f'{path}: {message}')


# Options ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('crop', 'output', 'expected'),
    [
        ((448, 448), (224, 224), 2),
        ((447, 600), (224, 224), 1),
        ((600, 447), (224, 224), 1),
        ((896, 900), (224, 224), 4),
        ((5000, 1792), (224, 224), 8),
        ((100, 100), (224, 224), 1),
        ((448, 200), (224, 50), 2),
    ],
)
def test_nothing_is_reduced_below_the_output(crop, output, expected):
    assert reduction_of(crop, output) == expected


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(interpolation='lanczos'), "interpolation='lanczos' is neither"),
        (dict(flip_prob=1.5), 'flip_prob=1.5 is no probability'),
        (dict(flip_prob=-0.1), 'flip_prob=-0.1 is no probability'),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TRANSFORMS.build(dict(type='LoadRandomResizedCrop', scale=SIDE, **options))
