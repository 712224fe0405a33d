"""Depth maps as they are read: what is wrong with a file, in one line with its cure."""

from __future__ import annotations

import json
import math
import os
import shutil
import warnings

import numpy as np
import pytest
from mmengine.registry import TRANSFORMS
from PIL import Image

from g2sd_mm.cli.check_data import main
from g2sd_mm.data_checks import check
from g2sd_mm.data_checks.depth import ARRAY, DepthError, DepthReading, depth_numbers
from g2sd_mm.data_checks.findings import KINDS
from g2sd_mm.data_checks.run import recognise
from g2sd_mm.data_layouts import Choices
from g2sd_mm.datasets.depth import DepthDataset, LoadDepthAnnotations
from g2sd_mm.errors import ConfigError, DataError, UserError
from g2sd_mm.runs.own_data import find_source

from ..helpers import small_depth
from ..helpers.small_depth import SIDE, depth_map, write_map
from ..helpers.toys import words

READING = DepthReading(0.001, 0.1, 10.0)


def png(path, numbers: np.ndarray) -> None:
    Image.fromarray(numbers).save(path)


def _millimetres() -> np.ndarray:
    return np.rint(1000 * depth_map()).astype(np.uint16)


#: Name -> (writes a bad map, kind of the finding, words of the message).
BAD = {
    '8 bits': (lambda p: png(p, (depth_map() * 25).astype(np.uint8)), 'depth-format', '8 bits'),
    'colours': (
        lambda p: png(p, np.dstack([depth_map().astype(np.uint8)] * 3)), 'depth-format', 'picture',
    ),
    'other size': (lambda p: png(p, _millimetres()[:-1]), 'size-mismatch', f'{SIDE}x{SIDE - 1}'),
    'nothing known': (lambda p: png(p, 0 * _millimetres()), 'no-depth', 'all'),
    'nothing in range': (lambda p: png(p, 0 * _millimetres() + 50), 'no-depth', 'none in'),
    'metres as millimetres': (
        lambda p: png(p, np.maximum(1, np.rint(depth_map())).astype(np.uint16)),
        'depth-scale', 'scale=1 ',
    ),
    'a finer unit than millimetres': (
        lambda p: png(p, 12 * np.maximum(_millimetres(), 1000)), 'depth-scale', 'scale=1e-06',
    ),
    'empty': (lambda p: p.write_bytes(b''), 'empty-file', 'zero bytes'),
    'cut off': (lambda p: p.write_bytes(p.read_bytes()[:200]), 'truncated', 'too early'),
    'no picture': (lambda p: p.write_text('depth'), 'unreadable', 'no decoder'),
    'missing': (lambda p: p.unlink(), 'missing-depth', 'no such file'),
}  # fmt: skip
BAD_ARRAYS = {
    'not a number': (math.nan, 'depth-not-finite', 'nan'),
    'infinite': (math.inf, 'depth-not-finite', 'inf'),
    'negative': (-1.0, 'depth-not-finite', '-1'),
}


@pytest.fixture
def data(tmp_path):
    return small_depth.write_data(tmp_path / 'data', number=2)


def sample(data, split: str = 'train', suffix: str = '.png', scale: float = 0.001) -> dict:
    """The first sample, as a pipeline reads it."""
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadDepthAnnotations', scale=scale, min_depth=0.1, max_depth=10.0),
    ]
    dataset = DepthDataset(
        suffix, dict(img_path=f'images/{split}', depth_map_path=f'depth/{split}'),
        data_root=str(data), pipeline=steps,
    )  # fmt: skip
    return dataset[0]


def found(data, **reading) -> list[tuple[str, str]]:
    sources = recognise(data)
    for source in sources:
        source._reading = DepthReading(**reading) if reading else READING
    return [
        (f.kind, os.path.relpath(f.path, data)) for f in check(sources, workers=0).findings
    ]


def test_good_maps_are_metres_and_unknown_pixels_are_0(data):
    assert found(data) == []
    loaded = sample(data)
    assert loaded['gt_depth_map'].dtype == np.float32
    np.testing.assert_allclose(loaded['gt_depth_map'], depth_map(), atol=0.0005)
    assert loaded['seg_fields'] == ['gt_depth_map']


@pytest.mark.parametrize('name', BAD)
def test_a_bad_map_is_one_finding_and_one_line_with_file_and_cure(data, name):
    spoil, kind, words = BAD[name]
    path = data / 'depth/train/scene0.png'
    spoil(path)
    culprit = 'images/train/scene0.jpg' if kind == 'size-mismatch' else 'depth/train/scene0.png'
    assert found(data) == [(kind, culprit)]
    with pytest.raises(DataError) as caught:
        sample(data)
    message = str(caught.value)
    assert message.startswith(str(path)) and words in message and '\n' not in message
    if kind not in ('missing-depth', 'size-mismatch'):
        assert KINDS[kind].remedy in message


@pytest.mark.parametrize('name', BAD_ARRAYS)
def test_a_bad_number_in_an_array(tmp_path, name):
    value, kind, words = BAD_ARRAYS[name]
    data = small_depth.write_data(tmp_path / 'data', ARRAY, number=2)
    path = data / f'depth/train/scene0{ARRAY}'
    numbers = np.load(path)
    numbers[20, 20] = value
    np.save(path, numbers)
    assert found(data, scale=1.0, max_depth=10.0) == [(kind, f'depth/train/scene0{ARRAY}')]
    with pytest.raises(DataError, match=words) as caught:
        sample(data, suffix=ARRAY, scale=1.0)
    assert 'write 0 where' in str(caught.value)


def test_the_scale_that_a_message_offers_works(data):
    """Millimetres that are taken for metres."""
    with pytest.raises(DataError, match=r'scale=0\.001 would make it 1 to 5 m'):
        sample(data, scale=1.0)
    assert sample(data, scale=0.001)['gt_depth_map'].max() == pytest.approx(5)


def test_a_number_for_what_is_not_known_is_no_depth(data):
    path = data / 'depth/train/scene0.png'
    png(path, np.where(depth_map() > 0, _millimetres(), 65535).astype(np.uint16))
    assert found(data, scale=0.001) == [('depth-fill', 'depth/train/scene0.png')]
    for spared in (dict(max_depth=10.0), dict(invalid=(0, 65535))):
        assert found(data, scale=0.001, **spared) == []
    with pytest.raises(DataError, match=words(str(path), '65535')):
        find_source(data)
    png(path, np.linspace(1, 65535, SIDE * SIDE).astype(np.uint16).reshape(SIDE, SIDE))
    assert found(data, scale=0.001) == []  # depth up to the last number


def test_maps_of_two_kinds_are_refused_though_a_share_is_held_out(data):
    for part in ('images', 'depth'):
        shutil.rmtree(data / part / 'val')
    write_map(data / 'depth/train/scene0.npy', depth_map())
    with pytest.raises(UserError, match=words('.npy', '.png')):
        find_source(data, Choices(val_share=0.5))


def test_the_log_says_the_range_that_maps_are_read_with(data):
    assert '4 depth maps .png have 1 to 5 m by scale=0.001' in find_source(data).notes


def test_a_folder_by_itself_may_have_any_scale(data):
    assert check(recognise(data), workers=0).findings == ()


def test_depth_has_no_classes_to_count(data):
    for overview in check(recognise(data), workers=0).overviews:
        assert overview.images and not overview.classes and not overview.per_image


def test_what_is_out_of_range_is_not_known():
    numbers = np.array([[50, 200, 9000, 10_001, 65_535, 0]])
    reading = DepthReading(0.001, 0.1, 10.0, invalid=(0, 65_535))
    np.testing.assert_allclose(reading.metres(numbers), [[0, 0.2, 9, 0, 0, 0]], atol=1e-6)


def test_numbers_that_stand_for_no_depth_may_be_no_numbers():
    reading = DepthReading(1.0, 0.1, 10.0, invalid=(-1,))
    np.testing.assert_allclose(reading.metres(np.array([[-1.0, 2.0]])), [[0, 2]])


def test_a_pickle_is_not_opened(tmp_path):
    np.save(tmp_path / 'a.npy', np.array([[{}]]), allow_pickle=True)
    with pytest.raises(DepthError) as caught:
        depth_numbers((tmp_path / 'a.npy').read_bytes(), 'a.npy')
    assert caught.value.kind == 'unreadable'


@pytest.mark.parametrize('options', [
    dict(scale=0), dict(scale=math.inf), dict(min_depth=11), dict(min_depth=-1),
    dict(invalid=('none',)), dict(invalid=0),
])  # fmt: skip
def test_reading_that_makes_no_sense(options):
    with pytest.raises(ConfigError, match='LoadDepthAnnotations'):
        TRANSFORMS.build(dict(type='LoadDepthAnnotations', **options))


def test_maps_of_another_ending_are_named(data):
    with pytest.raises(DataError, match='depth_suffix'):
        sample(data, suffix=ARRAY)


def test_a_data_set_without_maps_is_named(data):
    with pytest.raises(DataError, match='depth_map_path'):
        LoadDepthAnnotations()({'img_path': 'a.jpg', 'seg_fields': []})


def test_stray_maps_and_images_are_noted(data):
    (data / 'images/val/scene1.jpg').unlink()
    assert found(data) == [('stray-depth', 'depth/val/scene1.png')]


def test_the_command_ends_with_1_and_lists_what_to_do(data, monkeypatch, capsys, tmp_path):
    BAD['8 bits'][0](data / 'depth/val/scene0.png')
    fixes = tmp_path / 'fix.jsonl'
    arguments = ['check_data.py', str(data), '--workers', '1', '--fix-list', str(fixes)]
    monkeypatch.setattr('sys.argv', arguments)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    assert '[depth-format]' in capsys.readouterr().out
    (fix,) = map(json.loads, fixes.read_text().splitlines())
    assert fix['path'].endswith('val/scene0.png') and '16-bit PNG or .npy' in fix['to_do'][0]


@pytest.mark.parametrize('number', [math.nan, math.inf, -1.0, -9999.9])
def test_numbers_that_are_listed_stand_for_no_depth(number):
    numbers = np.full((2, 2), 2.0, np.float32)
    numbers[0, 0] = number
    metres = DepthReading(invalid=(0, number)).metres(numbers)
    assert metres.tolist() == [[0, 2], [2, 2]]
    with pytest.raises(DepthError):
        DepthReading().metres(numbers)
    assert math.isnan(LoadDepthAnnotations(invalid=(0, 'nan')).reading.invalid[1])


@pytest.mark.parametrize('millimetres', [123, 1001, 4567])
def test_the_ends_of_the_range_that_is_read_are_in_it(millimetres):
    numbers = np.array([[millimetres, 2 * millimetres]], np.uint16)
    near, far = map(float, DepthReading(0.001).metres(numbers)[0])
    assert (DepthReading(0.001, near, far).metres(numbers) > 0).all()


def test_a_step_that_would_write_depth_is_refused(data):
    rotate = dict(type='mmseg.RandomRotate', prob=1.0, degree=20)
    options = dict(data_root=str(data), lazy_init=True)
    with pytest.raises(ConfigError, match=r'seg_pad_val=255.*seg_pad_val=0'):
        DepthDataset(pipeline=[rotate], **options)
    DepthDataset(pipeline=[dict(rotate, seg_pad_val=0)], **options)


def test_a_listed_number_beyond_the_type_is_no_infinity():
    numbers = np.array([[1, 2, np.inf]], np.float16)
    reading = DepthReading(invalid=(0, 65_535))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.raises(DepthError) as refusal:
            reading.metres(numbers)
        assert reading.metres(numbers[:, :2]).tolist() == [[1, 2]]
    assert refusal.value.kind == 'depth-not-finite'


@pytest.mark.parametrize('end', [0.3, 1.1, 9.3])  # in float32 the first ones are beyond themselves
def test_a_map_that_is_all_at_the_far_end_is_read(end):
    metres = DepthReading(1.0, 0.1, end).metres(np.full((2, 2), end))
    assert (metres == np.float32(end)).all()
