"""Backbones of OpenMMLab's libraries as teachers of features."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.registry import MODELS

from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.checkpoints.record import write_sidecar
from g2sd_mm.distill import Features
from g2sd_mm.distill.teachers import build_teacher
from g2sd_mm.distill.teachers.images import Pixels

from ...helpers.seen_images import SeeingStudent, pictures, randomised
from ...helpers.toys import classifier_cfg, refused, save, words

PREPROCESSOR = dict(
    type='ClsDataPreprocessor', mean=[100.0, 110.0, 120.0], std=[40.0, 50.0, 60.0], to_rgb=True
)
VIT = dict(
    type='VisionTransformer',
    arch=dict(embed_dims=24, num_layers=3, num_heads=2, feedforward_channels=48),
    img_size=64,
    patch_size=16,
)
RESNET = dict(type='ResNet', depth=18, stem_channels=8, base_channels=8, out_indices=(3,))


def config(backbone: dict[str, Any]) -> dict[str, Any]:
    head = dict(type='LinearClsHead', num_classes=3, in_channels=24)
    model = dict(
        _scope_='mmpretrain', type='ImageClassifier', backbone=backbone, head=head,
        data_preprocessor=PREPROCESSOR,
    )  # fmt: skip
    return dict(default_scope='mmpretrain', model=model)


def teacher_of(cfg: dict[str, Any], tmp_path, **more: Any) -> tuple[Any, Any]:
    """A teacher from a file, and the network that wrote it."""
    torch.manual_seed(1)
    network = randomised(MODELS.build(dict(cfg['model'])))
    file = save(tmp_path / 'trained.pth', network)
    cfg = dict(type='OpenMMLabFeatureTeacher', config=cfg, checkpoint=file, **more)
    return build_teacher(cfg), network


def answered(teacher: Any, size: int) -> tuple[Features, torch.Tensor]:
    """Its answer, and the images as its own preprocessor gives them."""
    student = SeeingStudent(size, teacher.stride)
    teacher.check_student(student)
    own = MODELS.build(dict(PREPROCESSOR, _scope_='mmpretrain'))
    raw = student.images(pictures(size)) * student.data_preprocessor.std
    raw = (raw + student.data_preprocessor.mean).flip(1).round()  # BGR, as it is read
    return teacher(student.images(pictures(size))), own({'inputs': raw})['inputs']


@pytest.mark.parametrize('size', [64, 96])
def test_a_transformer_of_mmpretrain_gives_class_token_and_patches(size, tmp_path):
    teacher, network = teacher_of(config(VIT), tmp_path)
    assert (teacher.stride, teacher.width) == (16, 24)
    answer, images = answered(teacher, size)
    backbone = network.backbone
    with torch.no_grad():
        backbone.out_type = 'featmap'
        (patches,) = backbone(images)
        backbone.out_type = 'cls_token'
        (cls,) = backbone(images)
    torch.testing.assert_close(answer.patches, patches.movedim(1, -1), atol=1e-4, rtol=0)
    torch.testing.assert_close(answer.cls, cls, atol=1e-4, rtol=0)
    assert not any(name.startswith('head') for name in teacher.model.state_dict())


def test_images_are_normalised_as_the_weights_say(tmp_path):
    """They were trained with other options than the config has."""
    file = teacher_of(config(VIT), tmp_path)[0].source
    inputs = dict(mean=[90.0, 80.0, 70.0], std=[30.0, 20.0, 10.0], channels='BGR')
    write_sidecar(file, {'network': None, 'inputs': inputs, 'origin': {}}, 0)
    cfg = dict(type='OpenMMLabFeatureTeacher', config=config(VIT), checkpoint=file)
    teacher = build_teacher(cfg)
    assert teacher.pixels == Pixels((90.0, 80.0, 70.0), (30.0, 20.0, 10.0), 'BGR')


def test_another_block_by_overrides(tmp_path):
    overrides = {'model.backbone.out_indices': [1], 'model.backbone.final_norm': False}
    torch.manual_seed(1)
    teacher = build_teacher(dict(
        type='OpenMMLabFeatureTeacher', config=config(VIT), random_weights=True,
        overrides=overrides,
    ))  # fmt: skip
    assert answered(teacher, 64)[0].patches.shape == (2, 4, 4, 24)
    assert teacher.model.backbone.out_indices == [1]


def test_a_transformer_without_a_class_token_gives_its_map(tmp_path):
    sam = dict(VIT, type='ViTSAM', out_channels=16, arch=dict(VIT['arch'], global_attn_indexes=[1]))
    for backbone in (sam, dict(VIT, with_cls_token=False, out_type='avg_featmap')):
        teacher, network = teacher_of(config(backbone), tmp_path)
        answer, images = answered(teacher, 64)
        network.backbone.out_type = 'featmap'
        with torch.no_grad():
            (patches,) = network.backbone(images)
        assert answer.cls is None
        torch.testing.assert_close(answer.patches, patches.movedim(1, -1), atol=1e-4, rtol=0)


@pytest.mark.parametrize('size', [64, 96])
def test_a_convolutional_network_gives_its_last_map(size, tmp_path):
    teacher, network = teacher_of(config(RESNET), tmp_path, cls='mean')
    assert (teacher.stride, teacher.width) == (32, 64)
    answer, images = answered(teacher, size)
    with torch.no_grad():
        (patches,) = network.backbone(images)
    torch.testing.assert_close(answer.patches, patches.movedim(1, -1), atol=1e-4, rtol=0)
    torch.testing.assert_close(answer.cls, patches.mean(dim=(2, 3)), atol=1e-4, rtol=0)


@pytest.mark.parametrize('out_type', ['avg_featmap', 'cls_token', 'dist_token'])
def test_a_classifier_of_this_project_gives_its_tokens(out_type, tmp_path):
    model = classifier_cfg(out_type)
    cfg = dict(default_scope='mmpretrain', model=dict(model, data_preprocessor=PREPROCESSOR))
    teacher, network = teacher_of(cfg, tmp_path)
    answer, images = answered(teacher, 32)
    assert answer.patches.shape == (2, 4, 4, 16)
    with torch.no_grad():
        (given,) = network.backbone(images)
    if out_type == 'avg_featmap':
        pooled = network.backbone.fc_norm(answer.patches.mean(dim=(1, 2)))
        torch.testing.assert_close(pooled, given, atol=1e-4, rtol=0)
    else:
        expected = given[0] if isinstance(given, tuple) else given
        torch.testing.assert_close(answer.cls, expected, atol=1e-4, rtol=0)


def test_what_cannot_teach_features_is_refused(tmp_path):
    cfg = config(VIT)
    with pytest.raises(CheckpointError, match='checkpoint'):
        build_teacher(dict(type='OpenMMLabFeatureTeacher', config=cfg))
    cfg['model'] = {k: v for k, v in cfg['model'].items() if k != 'data_preprocessor'}
    with refused('distillation.teacher.config', 'mean'):
        build_teacher(dict(type='OpenMMLabFeatureTeacher', config=cfg, random_weights=True))
    gap = config(dict(VIT, out_type='cls_token'))
    torch.save({'state_dict': {'backbone.cls_token': torch.ones(1, 1, 24)}}, tmp_path / 'part.pth')
    with pytest.raises(CheckpointError, match=words('part.pth', 'backbone')):
        build_teacher(dict(
            type='OpenMMLabFeatureTeacher', config=gap, checkpoint=str(tmp_path / 'part.pth')
        ))  # fmt: skip
