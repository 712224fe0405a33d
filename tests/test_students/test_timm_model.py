"""timm's networks compute what ours do."""

from __future__ import annotations

import numpy as np
import pytest
import timm.data
import torch
from PIL import Image as pillow
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer

import g2sd_mm
from g2sd_mm.checkpoints.write import write_weights
from g2sd_mm.errors import UserError
from g2sd_mm.students import load_student

from ..helpers.students import CLASSES, random_model, record, student_folder
from ..helpers.toys import ROOT, images, logged, words

LINEAR = {
    'model.head': dict(
        _delete_=True, type='LinearClsHead', num_classes=10, in_channels=64, init_cfg=None
    )
}


def folder(tmp_path, out_type: str):
    options = {} if out_type == 'dist_token' else LINEAR
    return student_folder(tmp_path, **{'model.backbone.out_type': out_type, **options})


@torch.no_grad()
def test_two_tokens_are_timms_distilled_network(tmp_path):
    student = load_student(folder(tmp_path, 'dist_token'))
    model = g2sd_mm.as_timm(student)
    assert isinstance(model, VisionTransformerDistilled)
    assert not model.training
    x = images(3, 56)
    ((cls, dist),) = student.model.backbone(x)
    tokens = model.forward_features(x)
    torch.testing.assert_close(tokens[:, 0], cls, rtol=0, atol=1e-5)
    torch.testing.assert_close(tokens[:, 1], dist, rtol=0, atol=1e-5)
    torch.testing.assert_close(model(x), student(x), rtol=0, atol=1e-5)
    assert student(x).std() > 0.01  # there is something to agree on


@pytest.mark.parametrize('out_type', ['avg_featmap', 'cls_token'])
@torch.no_grad()
def test_one_token_is_timms_vision_transformer(tmp_path, out_type):
    student = load_student(folder(tmp_path, out_type))
    model = g2sd_mm.as_timm(tmp_path)
    assert type(model) is VisionTransformer
    x = images(3, 56)
    (pooled,) = student.model.backbone(x)
    features = model.forward_head(model.forward_features(x), pre_logits=True)
    torch.testing.assert_close(features, pooled, rtol=0, atol=1e-5)
    torch.testing.assert_close(model(x), student(x), rtol=0, atol=1e-5)


def test_timm_prepares_images_as_the_student_wants_them(tmp_path):
    model = g2sd_mm.as_timm(folder(tmp_path, 'dist_token'))
    data = timm.data.resolve_model_data_config(model)
    assert data['input_size'] == (3, 56, 56)
    assert data['mean'] == pytest.approx((0.485, 0.456, 0.406))
    assert data['std'] == pytest.approx((0.229, 0.224, 0.225))
    assert model.pretrained_cfg['label_names'] == CLASSES[:10]


@pytest.mark.parametrize(
    ('task', 'backbone'), [('detection', 'G2SDViTDet'), ('segmentation', 'G2SDViTSeg')]
)
def test_other_tasks_are_refused(tmp_path, task, backbone):
    with pytest.raises(UserError, match=words(f'cannot hold {backbone}', 'relative positions')):
        g2sd_mm.as_timm(student_folder(tmp_path, task))


def test_a_student_that_does_not_average_is_refused(tmp_path):
    config = ROOT / 'configs' / 'shapes' / 'g2sd_vits_two_token_cls.py'
    write_weights(tmp_path / 'weights.pth', random_model(record()['network']).state_dict(), {})
    student = load_student(tmp_path, config, {'model.head.average': False})
    with pytest.raises(UserError, match='from the class token alone, and timm averages'):
        g2sd_mm.as_timm(student)


RESIZED = dict(type='ResizeEdge', scale=64, edge='short', backend='pillow', interpolation='bicubic')


def student_of(folder, *steps, **options):
    pipeline = [dict(type='LoadImageFromFile'), *steps, dict(type='PackInputs')]
    where = 'test_dataloader.dataset.pipeline'
    return load_student(student_folder(folder, **{where: pipeline, **options}))


@pytest.mark.parametrize('steps', [
    [RESIZED, dict(type='CenterCrop', crop_size=56)],
    [{**RESIZED, 'scale': 57}, dict(type='CenterCrop', crop_size=56)],
    [dict(type='Resize', scale=(56, 56), backend='pillow', interpolation='bilinear')],
])  # fmt: skip
def test_timms_own_transform_shows_what_the_test_pipeline_shows(tmp_path, steps):
    student = student_of(tmp_path, *steps)
    model = g2sd_mm.as_timm(student)
    config = timm.data.resolve_model_data_config(model)
    transform = timm.data.create_transform(**config, is_training=False)
    image = np.random.default_rng(1).integers(0, 255, (9, 12, 3)).astype(np.uint8)
    image = pillow.fromarray(image).resize((120, 90))
    with torch.no_grad():
        theirs = model(transform(image)[None]).softmax(dim=1)[0]
    ours = student.predict(image)['scores']
    top = theirs.topk(5)
    named = {student.classes[i]: float(v) for v, i in zip(*top, strict=True)}
    assert named == pytest.approx(ours, abs=0.005)


def test_a_pipeline_that_timm_has_no_words_for_is_told(tmp_path):
    with logged() as lines:
        g2sd_mm.as_timm(student_of(tmp_path, dict(type='CenterCrop', crop_size=56)))
    assert any('CenterCrop' in line for line in lines)


def test_timms_network_of_a_student_that_sees_bgr_takes_rgb(tmp_path):
    options = {'data_preprocessor.to_rgb': False, 'data_preprocessor.mean': [10.0, 20.0, 30.0]}
    student = load_student(student_folder(tmp_path, **options))
    model, x = g2sd_mm.as_timm(student), images(3, 56)
    assert model.pretrained_cfg['mean'] == pytest.approx((30 / 255, 20 / 255, 10 / 255))
    with torch.no_grad():
        torch.testing.assert_close(model(x.flip(1)), student(x), rtol=0, atol=1e-5)
