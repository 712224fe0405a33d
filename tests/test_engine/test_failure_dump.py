"""Batches of all tasks come back from a file that holds no code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement, InstanceData, PixelData

from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.engine.failure_dump import read_bundle, write_bundle
from g2sd_mm.engine.tensors import tensors_in

from ..helpers.toys import images, labelled

FACTS = dict(seed=0, rank=0, files=[['a.jpg']])

META = dict(img_path='a/b.jpg', img_shape=(4, 6), scale_factor=np.array([1.0, 2.0]), flip=True)


def classification() -> dict:
    samples = labelled([0, 2])
    for sample in samples:
        sample.set_metainfo(META | {'sample_seed': 2**62 + 1})
    return dict(inputs=images(2), data_samples=samples)


def detection() -> dict:
    from mmdet.structures import DetDataSample
    from mmdet.structures.bbox import HorizontalBoxes
    from mmdet.structures.mask import BitmapMasks, PolygonMasks

    samples = []
    for masks in (
        BitmapMasks(np.ones((1, 4, 6), np.uint8), 4, 6),
        PolygonMasks([[np.array([0.0, 0, 3, 0, 3, 3])]], 4, 6),
    ):
        sample = DetDataSample(metainfo=META)
        sample.gt_instances = InstanceData(
            bboxes=HorizontalBoxes(torch.tensor([[0.0, 0, 3, 3]])),
            labels=torch.tensor([1]),
            masks=masks,
        )
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
        samples.append(sample)
    return dict(inputs=[torch.zeros(3, 4, 6, dtype=torch.uint8)] * 2, data_samples=samples)


def segmentation() -> dict:
    from mmseg.structures import SegDataSample

    sample = SegDataSample(metainfo=META)
    sample.gt_sem_seg = PixelData(data=torch.ones(1, 4, 6, dtype=torch.int64))
    return dict(inputs=[torch.zeros(3, 4, 6)], data_samples=[sample])


@pytest.mark.parametrize('make', [classification, detection, segmentation])
def test_a_batch_comes_back_as_it_was(tmp_path, make):
    batch = make()
    write_bundle(
        tmp_path / 'b.pth', state={'w': torch.ones(2)}, batches=[batch], steps=[3], updates=[3],
        **{**FACTS, 'seed': 1},
    )
    bundle = read_bundle(tmp_path / 'b.pth')
    assert (bundle['steps'], bundle['seed']) == ([3], 1)
    assert torch.equal(bundle['state_dict']['w'], torch.ones(2))
    (again,) = bundle['batches']
    assert_same(again, batch)


def assert_same(one, two) -> None:
    assert type(one) is type(two)
    if isinstance(one, BaseDataElement):
        assert set(one.keys()) == set(two.keys())
        assert set(one.metainfo_keys()) == set(two.metainfo_keys())
        for key in (*one.keys(), *one.metainfo_keys()):
            assert_same(getattr(one, key), getattr(two, key))
    elif isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            assert_same(one[key], two[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            assert_same(a, b)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, two)
    elif isinstance(one, np.ndarray):
        assert np.array_equal(one, two)
    elif hasattr(one, 'masks'):
        assert_same(one.masks, two.masks)
        assert (one.height, one.width) == (two.height, two.width)
    elif hasattr(one, 'tensor'):
        assert torch.equal(one.tensor, two.tensor)
    else:
        assert one == two


def test_views_are_written_without_what_they_are_views_of(tmp_path):
    batch = dict(inputs=torch.zeros(1_000_000)[:2])
    write_bundle(
        tmp_path / 'b.pth', state={}, batches=[batch], steps=[0], updates=[0], **FACTS
    )
    assert (tmp_path / 'b.pth').stat().st_size < 10_000
    assert len(list(tensors_in(read_bundle(tmp_path / 'b.pth')['batches']))) == 1


def test_other_files_are_refused(tmp_path):
    torch.save({'state_dict': {}}, tmp_path / 'weights.pth')
    with pytest.raises(CheckpointError, match='is no bundle of a non-finite step'):
        read_bundle(tmp_path / 'weights.pth')


def test_no_other_class_can_be_asked_for(tmp_path):
    sample = {'__class__': 'Popen', 'arguments': ['touch', 'x']}
    content = dict(
        format=2, state_dict={}, steps=[0], updates=[0], batches=[sample], **FACTS
    )
    torch.save(content, tmp_path / 'b.pth')
    with pytest.raises(CheckpointError, match="asks for the class 'Popen'"):
        read_bundle(tmp_path / 'b.pth')


@pytest.mark.parametrize('change', [
    dict(batches=[{'__class__': ['Popen'], 'arguments': []}]), dict(batches=7), dict(files=[7]),
    dict(batches=[{'__class__': 'BitmapMasks', 'arguments': ['x', 10**12, 10**12]}]),
    dict(batches=[{'__class__': 'DataSample', 'fields': {'__class__': 1}, 'meta': {}}]),
    dict(batches=[{'__class__': 'DataSample'}]), dict(seed='0'), dict(rank=None), dict(files=None),
    dict(state_dict=None),
])  # fmt: skip
def test_a_damaged_one_is_named(tmp_path, change):
    content = dict(format=2, state_dict={}, steps=[0], updates=[0], batches=[{}], **FACTS)
    torch.save(content, tmp_path / 'b.pth')
    assert read_bundle(tmp_path / 'b.pth')['batches'] == [{}]
    torch.save({**content, **change}, tmp_path / 'b.pth')
    with pytest.raises(CheckpointError, match=r'b\.pth'):
        read_bundle(tmp_path / 'b.pth')
