"""Depth maps of one's own in the place of a config's: scale, range and what is judged."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DATASETS, init_default_scope

from g2sd_mm.config.load import load_config
from g2sd_mm.config.parts import innermost_dataset
from g2sd_mm.data_checks.run import recognise
from g2sd_mm.data_layouts import Choices
from g2sd_mm.errors import DataError, UserError
from g2sd_mm.runs.own_data import own_data_options

from ..helpers import small_depth
from ..helpers.toys import words

NYU = 'configs/nyu/g2sd_vits_depth.py'


def on(root, name=NYU):
    return load_config(name, own_data_options(name, str(root)))


def edited(tmp_path, **step):
    """The config for data of one's own with other entries of ``LoadDepthAnnotations``."""
    cfg = load_config('configs/nyu/custom_depth_vits_depth.py')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        dataset = innermost_dataset(loader.dataset)
        for part in dataset.pipeline:
            if part.type == 'LoadDepthAnnotations':
                part.update(step)
    cfg.dump(str(tmp_path / 'mine.py'))
    return str(tmp_path / 'mine.py')


def readings(cfg):
    """What every loader is told, in its own pipeline."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        steps = innermost_dataset(cfg[name].dataset).pipeline
        yield next(step for step in steps if step.type == 'LoadDepthAnnotations')


@pytest.mark.parametrize('ending', ['.png', '.npy'])
def test_a_config_of_nyu_reads_them_in_their_scale_and_range(tmp_path, ending):
    cfg = on(small_depth.write_data(tmp_path / 'rooms', ending))
    for read in readings(cfg):
        assert read.scale == (1.0 if ending == '.npy' else 0.001)
        assert (read.min_depth, read.max_depth) == pytest.approx((1, 5))
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        assert (evaluator.min_depth_eval, evaluator.max_depth_eval) == pytest.approx((1, 5))
        assert evaluator.crop_type is None
    # its other steps stay
    kinds = [step.type for step in innermost_dataset(cfg.train_dataloader.dataset).pipeline]
    assert 'PhotoMetricDistortion' in kinds and 'Resize' not in kinds


def test_the_scale_and_the_unknown_numbers_of_a_config_count(tmp_path):
    root = small_depth.write_data(tmp_path / 'rooms')
    cfg = on(root, edited(tmp_path, scale=1 / 256, invalid=(0, 5000)))
    for read in readings(cfg):
        assert read.scale == 1 / 256 and tuple(read.invalid) == (0, 5000)
        assert read.max_depth == pytest.approx(np.rint(5000 - 4000 / 63) / 256, rel=1e-3)


def test_arrays_with_nan_are_read_if_the_config_lists_it(tmp_path):
    root = small_depth.write_data(tmp_path / 'rooms', '.npy')
    holes = small_depth.depth_map()
    holes[holes == 0] = math.nan
    small_depth.write_map(root / 'depth/val/scene0.npy', holes)
    assert on(root, edited(tmp_path, invalid=(0, 'nan'))).model.decode_head.max_depth == 5


def test_a_pipeline_that_cannot_be_told_is_refused(tmp_path):
    root = small_depth.write_data(tmp_path / 'rooms')
    name = edited(tmp_path, type='mmseg.LoadDepthAnnotation')
    with pytest.raises(UserError, match='LoadDepthAnnotations'):
        own_data_options(name, str(root))


@pytest.mark.parametrize('inner', ['{part}', '{split}/{part}'])
def test_maps_may_lie_in_the_folders_of_splits_or_have_none(tmp_path, inner):
    root = small_depth.write_data(tmp_path / 'before')
    for part in ('images', 'depth'):
        for split in ('train', 'val'):
            for file in (root / part / split).iterdir():
                folder = tmp_path / 'rooms' / inner.format(part=part, split=split)
                folder.mkdir(parents=True, exist_ok=True)
                file.rename(folder / f'{split}_{file.name}')
    name = 'configs/mini/vitb_depth.py'
    choices = None if 'split' in inner else Choices(val_share=0.5)
    options = own_data_options(name, str(tmp_path / 'rooms'), choices)
    init_default_scope('mmseg')
    for loader in ('train', 'val'):
        dataset = innermost_dataset(load_config(name, options)[f'{loader}_dataloader'].dataset)
        entries = DATASETS.build({**dataset, 'pipeline': []}).load_data_list()
        assert len(entries) == 4
        for entry in entries:
            paths = [Path(entry[key]) for key in ('img_path', 'depth_map_path')]
            assert all(path.is_file() for path in paths) and paths[0].stem == paths[1].stem


@pytest.mark.parametrize('ending', ['.png', '.npy'])
def test_depth_in_another_unit_is_named(tmp_path, ending):
    root = small_depth.write_data(tmp_path / 'rooms', ending)
    for file in root.rglob(f'*{ending}'):
        factor = 1000 if ending == '.npy' else 0.001
        small_depth.write_map(file, factor * small_depth.depth_map())
    with pytest.raises(DataError, match=words(str(root / 'depth'), 'scale')):
        on(root, 'configs/mini/vitb_depth.py')
    if ending == '.png':
        assert on(root, edited(tmp_path, scale=1.0)).model.decode_head.max_depth == 5


def test_endings_of_maps_may_be_in_capitals(tmp_path):
    root = small_depth.write_data(tmp_path / 'rooms')
    for file in (root / 'depth').rglob('*.png'):
        file.rename(file.with_suffix('.PNG'))
    masks = [path for source in recognise(root) for path, _ in source.masks()]
    assert masks and all(Path(path).is_file() for path in masks)
