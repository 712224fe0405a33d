"""Size, normalisation and channel order of images, read from configs and files."""

from __future__ import annotations

import numpy as np
import pytest
from mmcv.transforms import Compose
from mmengine.registry import DefaultScope

from g2sd_mm.agreement.inputs import (
    Inputs,
    channel_order,
    cut_of,
    inputs_of,
    read_inputs,
    reading,
    unlike,
)
from g2sd_mm.config.parts import innermost_dataset

from ..helpers.toys import config

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@pytest.mark.parametrize(
    ('pipeline', 'size', 'as_it_is'),
    [
        ([dict(type='RandomCrop', crop_size=56)], (56, 56), True),
        ([dict(type='mmpretrain.CenterCrop', crop_size=(64, 48))], (48, 64), True),
        ([dict(type='RandomCrop', crop_size=32, padding=4)], (32, 32), False),
        ([dict(type='CenterCrop', crop_size=32, auto_pad=True)], (32, 32), False),
        (
            [dict(type='ResizeEdge', scale=64), dict(type='CenterCrop', crop_size=56)],
            (56, 56), False,
        ),
        ([dict(type='RandomResizedCrop', scale=(64, 48))], (64, 48), False),
        ([dict(type='Resize', scale=(64, 48))], (48, 64), False),
        ([dict(type='Resize', scale=(64, 48), keep_ratio=True)], None, False),
    ],
)  # fmt: skip
def test_the_size_that_a_pipeline_leads_to(pipeline, size, as_it_is):
    cut = cut_of([dict(type='LoadImageFromFile'), *pipeline, dict(type='PackInputs')])
    assert (cut.size, cut.as_it_is) == (size, as_it_is)


@pytest.mark.parametrize('name', ['imagenet/vitb_cls.py', 'shapes/vits_deploy.py',
                                  'shapes/g2sd_vits_cls.py', 'mini/g2sd_vits_cls.py'])  # fmt: skip
def test_configs_say_what_their_networks_are_laid_out_for(name):
    cfg = config(name)
    side = cfg.model.backbone.get('img_size', 224)
    assert inputs_of(cfg) == Inputs((side, side), MEAN, STD, 'RGB')
    loaders = [cfg[f'{n}_dataloader'] for n in ('train', 'test') if cfg.get(f'{n}_dataloader')]
    for loader in loaders:
        cut = cut_of(innermost_dataset(loader.dataset).pipeline)
        assert (cut.size, cut.as_it_is) == ((side, side), False)


@pytest.mark.parametrize('shape', [(32, 32), (64, 64), (480, 360), (40, 90)])
def test_images_of_any_size_reach_the_demos_network_at_its_own(shape):
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    cfg = config('shapes/g2sd_vits_cls.py')
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        steps = innermost_dataset(loader.dataset).pipeline[1:]
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            packed = Compose(steps)(dict(img=image.copy(), img_shape=shape, ori_shape=shape))
        assert packed['inputs'].shape == (3, 56, 56)


def test_the_demos_own_images_are_not_touched():
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    cfg = config('shapes/g2sd_vits_cls.py')
    steps = innermost_dataset(cfg.val_dataloader.dataset).pipeline[1:]
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        packed = Compose(steps)(dict(img=image.copy(), img_shape=(64, 64), ori_shape=(64, 64)))
    assert (packed['inputs'].numpy() == image[4:60, 4:60].transpose(2, 0, 1)).all()


@pytest.mark.parametrize(('height', 'width'), [(128, 128), (480, 360)])
def test_the_demos_scenes_are_tested_at_the_scale_of_training(height, width):
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    steps = config('shapes/g2sd_vits_upernet.py').val_dataloader.dataset.pipeline
    steps = [step for step in steps if step.type in ('Resize', 'PackSegInputs')]
    with DefaultScope.overwrite_default_scope('mmseg'):
        packed = Compose(steps)(
            dict(img=image.copy(), img_shape=(height, width), ori_shape=(height, width))
        )
    assert max(packed['inputs'].shape) == 128
    if height == 128:
        assert (packed['inputs'].numpy() == image.transpose(2, 0, 1)).all()


def test_the_order_of_the_channels_is_that_of_reader_and_preprocessor():
    turned = dict(mean=MEAN, to_rgb=True)
    assert channel_order(turned) == channel_order(dict(mean=MEAN, bgr_to_rgb=True)) == 'RGB'
    assert channel_order(dict(mean=MEAN)) == 'BGR'
    reads_rgb = [dict(type='LoadImageFromFile', channel_order='rgb')]
    assert channel_order(dict(mean=MEAN), reads_rgb) == 'RGB'
    assert channel_order(turned, reads_rgb) == 'BGR'
    assert channel_order({}) is channel_order(dict(mean=[0.0])) is None
    gives_pixels = [dict(type='RandomCrop', crop_size=32), dict(type='PackInputs')]  # RGB
    assert channel_order(dict(mean=MEAN), gives_pixels) == 'RGB'
    own = [dict(type='ReadTiff'), dict(type='Resize', scale=(32, 32)), dict(type='PackInputs')]
    assert channel_order(dict(mean=MEAN), own) == 'BGR'
    assert reading(own) == (own[0], own[1:])


def test_what_differs_is_said_and_what_is_unknown_is_not():
    known = Inputs((56, 56), MEAN, STD, 'RGB')
    assert unlike(known, Inputs()) == unlike(known, Inputs((32, 32), MEAN, STD, 'RGB')) == ''
    assert 'mean' in unlike(known, Inputs(None, (0.0,) * 3, STD, 'RGB'))
    assert 'std' in unlike(known, Inputs(None, MEAN, (1.0,), 'RGB'))
    assert unlike(known, Inputs(None, MEAN, STD, 'BGR')) == 'channels RGB and BGR'


def test_a_file_may_say_anything():
    known = Inputs((56, 48), MEAN, STD, 'RGB')
    assert read_inputs(known.plain()) == known
    for nonsense in (None, 3, 'x', {'size': [10**9, 1]}, {'size': 'ab'}, {'mean': ['x']},
                     {'channels': '__import__'}, {'size': [True, True]}, {'std': []}):  # fmt: skip
        assert read_inputs(nonsense) == Inputs()


def test_a_models_own_preprocessor_counts_before_the_one_beside_it():
    own = dict(model=dict(data_preprocessor=dict(mean=MEAN)), data_preprocessor=dict(mean=STD))
    wrapped = dict(own, model=dict(type='ClsTTA', module=own['model']))
    distilled = dict(own, model=dict(type='SpecificDistiller', student=own['model']))
    for cfg in (own, wrapped, distilled):
        assert inputs_of(cfg).mean == tuple(MEAN)
    assert inputs_of(dict(own, model={})).mean == tuple(STD)
