"""The input pipeline on generated pictures, for every task."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from benchmarks.speed.build import stage_config
from benchmarks.speed.pipeline import (
    build_loader,
    build_stock_loader,
    decoding,
    fed_steps,
    reading,
    reading_rate,
    started,
)
from benchmarks.speed.stages import STAGES
from benchmarks.speed.stock import stock_pipeline

from ..helpers.toys import image_folder


@pytest.mark.parametrize('name', ['generic_vits', 'cls_vits', 'det_vits', 'seg_vits'])
def test_the_stages_own_loader_reads_generated_pictures(name, tmp_path, monkeypatch):
    monkeypatch.setattr('benchmarks.speed.pipeline.PICTURES', 4)
    stage = STAGES[name]
    loader = build_loader(stage_config(stage, 'toy'), stage, tmp_path, 3, 0, 'toy')
    batches = iter(loader)
    first, second = next(batches), next(batches)  # more than there are pictures: endless
    side = stage.side_at('toy')
    for batch in (first, second):
        assert len(batch['inputs']) == len(batch['data_samples']) == 3
        for image in batch['inputs']:
            assert image.dtype == torch.uint8
            assert max(image.shape[1:]) <= side
    sample = first['data_samples'][0]
    assert sample.sample_seed
    if name == 'det_vits':
        assert any(len(s.gt_instances.masks) for s in first['data_samples'])
    if name == 'seg_vits':
        assert sample.gt_sem_seg.data.unique().numel() > 1
    assert reading_rate(loader, 2) > 0


class Loader(SimpleNamespace):
    """Counts what is read, and says that workers read ahead."""

    def __iter__(self):
        for number in range(100):
            self.read.append(number)
            yield number


def test_what_was_read_ahead_is_not_timed():
    loader = Loader(num_workers=3, read=[])
    assert next(started(loader)) == 6
    assert next(started(Loader(num_workers=0, read=[]))) == 0


def test_fed_steps_train_on_consecutive_batches():
    loader, trained = Loader(num_workers=1, read=[]), []
    formulation = SimpleNamespace(run=lambda part, batch: trained.append((part, batch)))
    task = fed_steps(formulation, loader, 2)
    run = task()
    assert (loader.read, trained) == ([0, 1], [])
    run()
    assert trained == [('step', 2), ('step', 3)]


@pytest.mark.parametrize('task', ['generic', 'cls'])
def test_mmpretrains_pipeline_augments_as_ours_does(task):
    """The two differ in the steps that ours does in one, and in nothing else."""
    cfg = stage_config(STAGES[f'{task}_vits'])
    (first, *rest), (load, crop, flip, *others) = cfg.train_pipeline, stock_pipeline(task)
    assert first.type == 'LoadRandomResizedCrop'
    assert [load.type, crop.type, flip.type] == [
        'LoadImageFromFile', 'RandomResizedCrop', 'RandomFlip']
    for key in ('scale', 'interpolation', 'crop_ratio_range'):
        assert first.get(key) == crop.get(key), key
    assert first.flip_prob == flip.prob
    replaced = {
        'FastRandomErasing': 'RandomErasing', 'timm_increasing_fast': 'timm_increasing'
    }
    rest = [
        {key: replaced.get(value, value) if isinstance(value, str) else value
         for key, value in step.items()}
        for step in rest if step.type != 'SplitPlanes'
    ]
    assert rest == others


@pytest.mark.parametrize('name', ['generic_vits', 'cls_vits'])
def test_both_pipelines_read_the_same_images(name, tmp_path):
    stage = STAGES[name]
    images = image_folder(tmp_path / 'images', classes=2, each=2)
    cfg = stage_config(stage, 'toy')
    loader = build_loader(cfg, stage, tmp_path / 'none', 3, 0, 'toy', images)
    stock = build_stock_loader(loader, stage, 'toy')
    side = stage.side_at('toy')
    for each in (loader, stock):
        batch = next(iter(each))
        assert (batch['inputs'].shape, batch['inputs'].dtype) == ((3, 3, side, side), torch.uint8)
        for sample in batch['data_samples']:
            assert str(images) in sample.img_path
            assert ('gt_label' in sample) == (name == 'cls_vits')
    for task in (reading(stock, 2), decoding(loader, 9)):
        task()()


def test_there_is_no_other_pipeline_for_detection(tmp_path):
    assert stock_pipeline('det') is None
    assert build_stock_loader(None, STAGES['seg_vits']) is None


def test_reading_takes_as_many_batches_as_were_asked_for():
    loader = Loader(num_workers=1, read=[])
    reading(loader, 3)()()
    assert loader.read == [0, 1, 2, 3, 4]  # two were read ahead
