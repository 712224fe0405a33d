"""Channels of network, normalisation and teacher agree, or the config is refused by name."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from g2sd_mm.config.load import check_channels, image_channels

from ..helpers.toys import config, refused


def classifier(channels: int, values: int, place: str = 'top', **settings) -> Config:
    preprocessor = dict(mean=[1.0] * values, std=[1.0] * values, **settings)
    model = dict(type='ImageClassifier', backbone=dict(type='G2SDViT', in_channels=channels))
    if place == 'top':
        return Config(dict(model=model, data_preprocessor=preprocessor))
    return Config(dict(model=dict(**model, data_preprocessor=preprocessor)))


@pytest.mark.parametrize('place', ['top', 'model'])
@pytest.mark.parametrize(('channels', 'values'), [(3, 4), (4, 3), (13, 2), (1, 3)])
def test_as_many_means_as_channels(channels, values, place):
    entry = 'data_preprocessor.mean' if place == 'top' else 'model.data_preprocessor.mean'
    with refused(entry, f'{values} values', f'model.backbone.in_channels is {channels}'):
        check_channels(classifier(channels, values, place))


@pytest.mark.parametrize(('channels', 'values'), [(3, 3), (3, 1), (1, 1), (2, 2), (13, 13)])
def test_what_agrees_passes(channels, values):
    check_channels(classifier(channels, values))


def test_colours_of_no_three_channels_are_not_exchanged():
    wrong = dict(type='mmdet.DetDataPreprocessor', bgr_to_rgb=True)
    with refused('model.data_preprocessor.bgr_to_rgb', 'in_channels is 4', 'False'):
        check_channels(classifier(4, 4, 'model', **wrong))
    check_channels(classifier(4, 4, 'model', **{**wrong, 'bgr_to_rgb': False}))
    check_channels(classifier(3, 3, 'model', **wrong))


def test_student_and_teacher_of_stage_one_see_the_same_images():
    both = {'model.in_channels': 4, 'data_preprocessor.bgr_to_rgb': False,
            'data_preprocessor.mean': [1.0] * 4, 'data_preprocessor.std': [1.0] * 4}
    with refused('model.in_channels=4', 'distillation.teacher.in_channels=3'):
        config('imagenet/g2sd_vits_generic.py', **both)
    cfg = config('imagenet/g2sd_vits_generic.py', **both, **{'distillation.teacher.in_channels': 4})
    assert image_channels(cfg.model) == 4


def test_images_are_rgb_where_nothing_else_is_said():
    assert image_channels(dict(backbone=dict(type='ResNet'))) == 3
    assert image_channels(dict(backbone=dict(type='ResNet', in_channels=1))) == 1
