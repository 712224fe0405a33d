"""A teacher of other classes, or of differently prepared images, is noticed before the run."""

from __future__ import annotations

import pytest
import torch

from g2sd_mm.agreement.inputs import Inputs
from g2sd_mm.runs.agreement import agree_with_teacher, compares_classes

from ..helpers.toys import config, refused, save
from ..test_agreement.data import weights

STATE = {'backbone.x': torch.ones(1)}
NAMES = tuple(f'class {i}' for i in range(10))
INPUTS = dict(size=[56, 56], mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
              channels='RGB')  # fmt: skip
STUDENT = Inputs((56, 56), (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), 'RGB')


def notes(checkpoint: str, classes=NAMES, student=STUDENT, name='shapes/g2sd_vits_cls.py', **more):
    cfg = config(name, **{'distillation.teacher.checkpoint': checkpoint, **more})
    return list(agree_with_teacher(cfg, classes, student))


def test_a_teacher_of_the_same_classes_and_images_gives_no_line(tmp_path):
    assert notes(weights(tmp_path / 'weights.pth', NAMES, inputs=INPUTS)) == []


def test_another_order_is_refused_and_the_advice_works(tmp_path):
    order = (NAMES[1], NAMES[0], *NAMES[2:])
    file = weights(tmp_path / 'weights.pth', order, inputs=INPUTS)
    with refused(
        'the teacher', 'weights.json', "class 0 is 'class 1' and 'class 0'",
        "classes=('class 1', 'class 0', ...)", 'classes_by_position=True',
    ):
        notes(file)
    assert notes(file, classes=order) == []
    assert len(notes(file, classes_by_position=True)) == 1


def test_the_teacher_of_a_hook_is_asked_too(tmp_path):
    file = weights(tmp_path / 'weights.pth', [*NAMES[1:], NAMES[0]], inputs=INPUTS)
    cfg = config('shapes/g2sd_vits_cls.py', **{'distillation.teacher.checkpoint': file})
    cfg.custom_hooks = [dict(type='DistillationHook', **cfg.pop('distillation'))]
    with refused("class 0 is 'class 1' and 'class 0'"):
        list(agree_with_teacher(cfg, NAMES, STUDENT))


def test_other_classes_are_refused(tmp_path):
    file = weights(tmp_path / 'weights.pth', [*NAMES[:-1], 'amber'], inputs=INPUTS)
    with refused("class 9 is 'amber' and 'class 9'", 'Take a teacher of these classes'):
        notes(file)


def test_a_training_checkpoint_of_mmengine_says_its_classes_too(tmp_path):
    order = [*NAMES[1:], NAMES[0]]
    file = save(tmp_path / 'epoch_3.pth', STATE, dataset_meta=dict(classes=order))
    with refused('epoch_3.pth', "class 0 is 'class 1' and 'class 0'"):
        notes(file)
    assert notes(save(tmp_path / 'old.pth', STATE, CLASSES=NAMES)) == []


def test_unknown_classes_are_said_once(tmp_path):
    (note,) = notes(save(tmp_path / 'published.pth', STATE))
    assert 'published.pth have no names' in note
    (note,) = notes(weights(tmp_path / 'weights.pth', NAMES), classes=())
    assert 'the training data have no names' in note


def test_regions_and_pyramids_know_no_classes(tmp_path):
    other = weights(tmp_path / 'weights.pth', ['person', 'car'])
    detector = config('shapes/g2sd_vits_maskrcnn.py')
    assert not compares_classes(detector.distillation)
    assert notes(other, name='shapes/g2sd_vits_maskrcnn.py', student=Inputs()) == []
    for name in ('shapes/g2sd_vits_cls.py', 'shapes/g2sd_vits_upernet.py'):
        assert compares_classes(config(name).distillation)


@pytest.mark.parametrize(
    ('change', 'said'),
    [(dict(channels='BGR'), 'channels BGR and RGB'), (dict(mean=[0.0, 0.0, 0.0]), 'mean')],
)
def test_differently_prepared_images_are_refused(tmp_path, change, said):
    file = weights(tmp_path / 'weights.pth', NAMES, inputs={**INPUTS, **change})
    with refused('prepare images alike', 'weights.json', said, 'data_preprocessor'):
        notes(file)


def test_the_teachers_config_is_asked_too(tmp_path):
    plain = save(tmp_path / 'published.pth', STATE)
    overrides = {'data_preprocessor.to_rgb': False}
    with refused('prepare images alike', "the teacher's config", 'channels BGR and RGB'):
        notes(plain, **{'distillation.teacher.overrides': overrides})


def test_another_size_is_said(tmp_path):
    file = weights(tmp_path / 'weights.pth', NAMES, inputs={**INPUTS, 'size': [224, 224]})
    (note,) = notes(file)
    assert '224x224 px' in note
    assert '56x56 px' in note


@pytest.mark.parametrize('kind', ['TimmTeacher', 'HuggingFaceTeacher', 'OpenMMLabFeatureTeacher'])
def test_a_teacher_that_normalises_for_itself_may_have_other_images(tmp_path, kind):
    file = weights(tmp_path / 'weights.pth', NAMES[:3], inputs={**INPUTS, 'channels': 'BGR'})
    assert notes(file, **{'distillation.teacher.type': kind}) == []
    read = {'train_dataloader.dataset.dataset.pipeline.0.channel_order': 'rgb'}
    student = Inputs((56, 56), STUDENT.mean, STUDENT.std, 'BGR')
    with refused('RGB', 'BGR', 'data_preprocessor'):
        notes(file, student=student, **{'distillation.teacher.type': kind}, **read)
