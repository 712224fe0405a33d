"""A sample follows from its key: in any worker, process, order, and after a resume."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS
from PIL import Image
from torch.utils.data import DataLoader

from g2sd_mm.datasets import SampleKey, SeededDataset, SeededSampler, seeded
from g2sd_mm.errors import DataError

from ..helpers.toys import image_folder, words

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=24, backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='ColorJitter', brightness=0.4),
    dict(type='PackInputs'),
]


@pytest.fixture
def folder(tmp_path):
    return image_folder(tmp_path / 'images', classes=2, each=5)


def dataset(folder, **options) -> SeededDataset:
    inner = dict(
        _scope_='mmpretrain', type='CustomDataset', data_root=str(folder), pipeline=PIPELINE
    )
    return DATASETS.build(dict(type='SeededDataset', dataset=inner, **options))


def pixels(data: SeededDataset, key: SampleKey) -> torch.Tensor:
    return data[key]['inputs']


def keys(data, rank: int = 0, world: int = 1, epoch: int = 0, **options) -> list[SampleKey]:
    sampler = SeededSampler(data, seed=7, **options)
    sampler.rank, sampler.world_size = rank, world
    sampler.num_samples = -(-len(data) // world)
    sampler.total_size = sampler.num_samples * world if sampler.round_up else len(data)
    sampler.set_epoch(epoch)
    return list(sampler)


# One sample ---------------------------------------------------------------------------------------


def test_a_key_always_gives_the_same_sample(folder):
    data = dataset(folder)
    first = pixels(data, SampleKey(3, 1, 5))
    torch.rand(3), np.random.rand(3)
    assert torch.equal(pixels(data, SampleKey(3, 1, 5)), first)
    assert torch.equal(pixels(pickle.loads(pickle.dumps(data)), SampleKey(3, 1, 5)), first)


def test_epoch_and_seed_change_the_augmentation(folder):
    data = dataset(folder)
    first = pixels(data, SampleKey(3, 1, 5))
    for other in (SampleKey(3, 2, 5), SampleKey(3, 1, 6)):
        assert not torch.equal(pixels(data, other), first)


def test_a_plain_number_reads_the_first_pass_of_seed_zero(folder):
    data = dataset(folder)
    assert torch.equal(data[3]['inputs'], pixels(data, SampleKey(3, 0, 0)))


def test_a_sample_carries_the_seed_of_its_key(folder):
    key = SampleKey(3, 1, 5)
    sample = dataset(folder)[key]['data_samples']
    assert sample.sample_seed == key.sample_seed()
    assert 0 <= sample.sample_seed < 2**63
    assert not hasattr(sample, 'unreadable')


def test_sample_seeds_are_distinct():
    seeds = {
        SampleKey(index, epoch, seed).sample_seed()
        for index in range(30) for epoch in range(10) for seed in range(10)
    }
    assert len(seeds) == 3000


def test_a_share_of_the_samples_has_the_same_of_every_class(folder):
    few = dataset(folder, every=2)
    labels = [int(few.get_data_info(i)['gt_label']) for i in range(len(few))]
    assert labels == [0, 0, 0, 1, 1]  # the first, third, ... of 5 and 5
    assert few.get_data_info(1)['img_path'] == dataset(folder).get_data_info(2)['img_path']


def test_a_number_of_samples_is_taken_evenly(folder):
    paths = [info['img_path'] for info in map(dataset(folder).get_data_info, range(10))]

    def taken(**options):
        few = dataset(folder, **options)
        return [paths.index(few.get_data_info(i)['img_path']) for i in range(len(few))]

    assert taken(samples=4) == [0, 2, 5, 7]
    assert taken(samples=3, every=2) == [0, 2, 6]  # of 0, 2, 4, 6, 8
    assert taken(samples=11) == list(range(10))


def test_it_passes_for_the_data_set_that_it_wraps(folder):
    data = dataset(folder)
    assert len(data) == 10
    assert list(data.CLASSES) == ['class_0', 'class_1']
    assert data.metainfo['classes'] == ('class_0', 'class_1')
    assert data.get_data_info(SampleKey(9, 0, 0)) == data.get_data_info(9)
    with pytest.raises(AttributeError):
        _ = data.no_such_thing


# Workers and processes ----------------------------------------------------------------------------


@pytest.mark.parametrize('workers', [1, 2])
def test_any_number_of_workers_gives_the_same_samples(folder, workers):
    data = dataset(folder)

    def read(number: int) -> list[torch.Tensor]:
        loader = DataLoader(
            data, batch_size=3, num_workers=number, sampler=SeededSampler(data, seed=7),
            collate_fn=lambda batch: batch, multiprocessing_context='fork' if number else None,
        )
        return [item['inputs'] for batch in loader for item in batch]

    assert all(torch.equal(a, b) for a, b in zip(read(0), read(workers), strict=True))


@pytest.mark.parametrize('world', [2, 3])
def test_ranks_together_see_the_batches_of_one_process(folder, world):
    data = dataset(folder)
    batch = 6
    whole = keys(data, round_up=False, epoch=4)
    parts = [keys(data, rank, world, epoch=4) for rank in range(world)]
    share = batch // world
    for step in range(len(whole) // batch):
        together = {key for part in parts for key in part[step * share : (step + 1) * share]}
        assert together == set(whole[step * batch : (step + 1) * batch])


def test_an_epoch_is_a_permutation_that_differs_from_the_next(folder):
    data = dataset(folder)
    first, second = keys(data, epoch=0), keys(data, epoch=1)
    for epoch, drawn in enumerate((first, second)):
        assert sorted(key.index for key in drawn) == list(range(10))
        assert {(key.epoch, key.seed) for key in drawn} == {(epoch, 7)}
    assert [k.index for k in first] != [k.index for k in second]
    assert keys(data, epoch=1) == second


def test_without_shuffling_the_order_is_kept(folder):
    assert [key.index for key in keys(dataset(folder), shuffle=False)] == list(range(10))


def test_ranks_have_equally_many_samples(folder):
    data = dataset(folder)
    parts = [keys(data, rank, 3) for rank in range(3)]
    assert [len(part) for part in parts] == [4, 4, 4]
    assert {key.index for part in parts for key in part} == set(range(10))


def test_an_infinite_sampler_goes_on_with_the_next_pass(folder):
    data = dataset(folder)
    drawn = [key for key, _ in zip(SeededSampler(data, seed=7, infinite=True), range(25),
                                   strict=False)]
    assert drawn[:20] == keys(data, epoch=0) + keys(data, epoch=1)
    assert {key.epoch for key in drawn[20:]} == {2}


# Unreadable samples -------------------------------------------------------------------------------


def corrupt(folder, number: int, content: bytes = b'no image') -> str:
    path = sorted(folder.rglob('*.*'))[number]
    path.write_bytes(content)
    return path.name


@pytest.mark.parametrize('content', [b'no image', b'', b'\xff\xd8\xff\xe0 a JPEG, so it says'])
def test_an_unreadable_image_is_replaced_and_named(folder, content):
    name = corrupt(folder, 3, content)
    data, key = dataset(folder), SampleKey(3, 0, 1)
    sample = data[key]['data_samples']
    (problem,) = sample.unreadable
    assert name in problem
    assert '\n' not in problem
    assert sample.img_path != data.get_data_info(3)['img_path']
    assert sample.sample_seed == key.sample_seed()


@pytest.mark.parametrize('cut', [2, 50, 1000, 3000])
@pytest.mark.parametrize('padding', [False, True])
@pytest.mark.parametrize('progressive', [False, True])
def test_a_jpeg_that_ends_too_early_is_not_read_half_grey(folder, cut, padding, progressive):
    """Also where the file has its full length because a copy was broken off."""
    path = sorted(folder.rglob('*.jpg'))[0]
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).save(path, quality=95, progressive=progressive)
    content = path.read_bytes()
    path.write_bytes(content[:-cut] + bytes(cut * padding))
    data = dataset(folder)
    index = next(i for i in range(10) if data.get_data_info(i)['img_path'] == str(path))
    (problem,) = data[index]['data_samples'].unreadable
    assert problem.startswith(f'{path}: cannot be read as an image (')


@pytest.mark.parametrize('ending', ['jpg', 'png'])
def test_half_an_image_is_not_read(folder, ending):
    path = sorted(folder.rglob(f'*.{ending}'))[0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    data = dataset(folder)
    index = next(i for i in range(10) if data.get_data_info(i)['img_path'] == str(path))
    assert path.name in data[index]['data_samples'].unreadable[0]


def test_a_missing_image_is_replaced(folder):
    data = dataset(folder)
    path = sorted(folder.rglob('*.*'))[3]
    path.unlink()
    assert path.name in data[3]['data_samples'].unreadable[0]


def test_the_replacement_follows_from_the_key(folder):
    corrupt(folder, 3)
    data = dataset(folder)
    drawn = [data[SampleKey(3, epoch, 1)] for epoch in range(12)]
    again = [data[SampleKey(3, epoch, 1)] for epoch in range(12)]
    for a, b in zip(drawn, again, strict=True):
        assert torch.equal(a['inputs'], b['inputs'])
        assert a['data_samples'].img_path == b['data_samples'].img_path
    assert len({sample['data_samples'].img_path for sample in drawn}) > 3


def test_several_unreadable_images_are_all_named(folder):
    names = {corrupt(folder, number) for number in range(8)}
    data = dataset(folder)
    found = [data[SampleKey(0, epoch, 1)]['data_samples'].unreadable for epoch in range(3)]
    assert any(len(problems) > 1 for problems in found)
    for problems in found:
        assert all(any(name in problem for name in names) for problem in problems)


def test_an_option_makes_an_unreadable_image_fatal(folder):
    name = corrupt(folder, 3)
    data = dataset(folder, on_error='raise')
    assert data[2]
    with pytest.raises(DataError, match=words('unreadable sample', name)):
        data[3]
    with pytest.raises(ValueError, match="on_error='ignore' is neither 'skip' nor 'raise'"):
        dataset(folder, on_error='ignore')


def test_ten_unreadable_images_in_a_row_are_fatal(folder):
    for number in range(10):
        corrupt(folder, number)
    with pytest.raises(DataError, match=words('10 samples in a row', 'class_', 'paths')):
        dataset(folder)[0]


class Buggy(BaseDataset):
    def __init__(self) -> None:
        pass

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> dict:
        raise ZeroDivisionError('a mistake in a transform')


def test_a_mistake_in_the_pipeline_is_not_taken_for_a_bad_image(monkeypatch):
    monkeypatch.setattr(seeded.DATASETS, 'build', lambda cfg: Buggy())
    with pytest.raises(ZeroDivisionError, match='mistake'):
        SeededDataset({})[0]


@pytest.mark.parametrize('skipped', [0, 3, 5, 12, 27])
def test_an_endless_sampler_can_start_anywhere_without_loading(folder, skipped):
    """10 samples on two ranks: 5 keys a pass."""
    data = dataset(folder)

    def first(number: int, skip: int) -> list[SampleKey]:
        sampler = SeededSampler(data, seed=7, infinite=True)
        sampler.rank, sampler.world_size, sampler.num_samples, sampler.total_size = 1, 2, 5, 10
        if skip:
            sampler.skip(skip)
        return list(itertools.islice(sampler, number))

    assert first(8, skipped) == first(skipped + 8, 0)[skipped:]


def test_a_sampler_skips_once(folder):
    sampler = SeededSampler(dataset(folder), seed=7)
    sampler.skip(4)
    assert len(list(sampler)) == 6
    assert len(list(sampler)) == 10


# Data sets that hold others -----------------------------------------------------------------------


def wrapped(folder, kind: str) -> dict:
    own = dict(
        _scope_='mmpretrain', type='CustomDataset', data_root=str(folder), pipeline=PIPELINE
    )
    return {
        'ConcatDataset': dict(type='ConcatDataset', datasets=[own, dict(own)]),
        'RepeatDataset': dict(type='RepeatDataset', times=2, dataset=own),
        'ClassBalancedDataset': dict(
            type='ClassBalancedDataset', oversample_thr=1e-3, dataset=own
        ),
    }[kind]


@pytest.mark.parametrize('kind', ['ConcatDataset', 'RepeatDataset', 'ClassBalancedDataset'])
def test_what_joins_or_repeats_is_seeded_and_cut_down_as_any_other(folder, kind):
    """mmengine's own cannot be cut down."""
    whole = SeededDataset(wrapped(folder, kind))
    some = SeededDataset(wrapped(folder, kind), every=2)
    assert len(some) == (len(whole) + 1) // 2
    taken = [some.get_data_info(SampleKey(i, 0, 0))['img_path'] for i in range(len(some))]
    all_paths = [whole.get_data_info(i)['img_path'] for i in range(len(whole))]
    assert taken == all_paths[::2]
    if kind == 'ClassBalancedDataset':  # the only one that says the classes of a sample
        labels = [whole.get_cat_ids(i) for i in range(0, len(whole), 2)]
        assert [some.get_cat_ids(i) for i in range(len(some))] == labels
    key = SampleKey(len(some) - 1, 1, 5)
    assert torch.equal(pixels(some, key), pixels(pickle.loads(pickle.dumps(some)), key))
    assert some[key]['data_samples'].img_path == taken[-1]


@pytest.mark.parametrize('infinite', [False, True])
def test_repeated_images_are_augmented_anew_in_a_pass_as_long(folder, infinite):
    sampler = SeededSampler(dataset(folder), seed=7, repeats=3, infinite=infinite)
    keys = [key for key, _ in zip(sampler, range(len(sampler.dataset)), strict=False)]
    plain = list(SeededSampler(dataset(folder), seed=7))
    assert len(keys) == len(plain)
    places = [key.index for key in keys]
    assert places == [key.index for key in plain for _ in range(3)][: len(plain)]
    assert len({key.sample_seed() for key in keys}) == len(keys)
    assert [key for key in keys if key.seed == 7] == plain[: -(-len(plain) // 3)]
    sampler.skip(4)
    assert [key for key, _ in zip(sampler, range(len(plain) - 4), strict=False)] == keys[4:]
