"""Modules of a student that start as its teacher's."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from mmengine.registry import MODELS

from g2sd_mm.checkpoints import CheckpointError, read_weights
from g2sd_mm.distill import SpecificDistiller
from g2sd_mm.errors import ConfigError

from ..helpers.toys import CLASSES, classifier_cfg, save, words

TAPS = dict(logits='head.fc')
LOSSES = dict(loss_kd=dict(type='SoftDistillationLoss', tap='logits'))


@pytest.fixture
def teacher(tmp_path) -> dict[str, Any]:
    torch.manual_seed(1)
    network = MODELS.build(classifier_cfg())
    network.init_weights()
    torch.nn.init.normal_(network.head.fc.weight)
    file = save(tmp_path / 'teacher.pth', network.state_dict())
    return dict(config=dict(model=classifier_cfg()), checkpoint=str(file))


def distiller(teacher: dict[str, Any], student: dict | None = None, **options: Any) -> Any:
    torch.manual_seed(0)
    parts = dict(student=student or classifier_cfg(), teacher=teacher, taps=TAPS, losses=LOSSES)
    model = SpecificDistiller(**copy.deepcopy({**parts, **options}))
    model.init_weights()
    return model


def test_what_is_named_is_the_teachers_and_the_rest_the_students_own(teacher):
    plain, model = distiller(teacher), distiller(teacher, inherit=['head.fc'])
    theirs = read_weights(teacher['checkpoint']).state
    own = plain.student.state_dict()
    for name, value in model.student.state_dict().items():
        assert torch.equal(value, (theirs if name.startswith('head.fc.') else own)[name]), name
    assert not torch.equal(own['head.fc.weight'], theirs['head.fc.weight'])


def test_parts_that_the_teacher_does_not_run_can_be_inherited(teacher):
    model = distiller(
        {**teacher, 'forward': ('backbone',)}, inherit=['head'],
        taps=dict(tokens='backbone.blocks.-1'),
        losses=dict(loss_tokens=dict(type='MSEFeatureLoss', tap='tokens')),
    )  # fmt: skip
    theirs = read_weights(teacher['checkpoint']).state['head.fc.weight']
    assert torch.equal(model.student.head.fc.weight, theirs)


def test_a_module_of_another_size_is_refused(teacher):
    with pytest.raises(CheckpointError, match=words('head.fc.weight', 'distillation.inherit')):
        distiller(teacher, classifier_cfg(dim=24), inherit=['head.fc'])


def test_a_name_that_the_student_does_not_have_is_told_what_it_has(teacher):
    with pytest.raises(ConfigError, match=words("inherit names 'roi_head'", 'backbone', 'head')):
        distiller(teacher, inherit=['roi_head'])


def test_nothing_says_whose_modules_are_meant_of_several_teachers(teacher):
    with pytest.raises(ConfigError, match=words('distillation.inherit', 'single')):
        distiller(
            None, teachers=dict(a=teacher, b=teacher), inherit=['head.fc'],
            taps={'a.logits': 'head.fc'},
            losses=dict(loss_kd=dict(type='SoftDistillationLoss', tap='a.logits')),
        )  # fmt: skip


def test_a_teacher_that_is_no_task_model_has_nothing_to_inherit():
    encoder = dict(
        type='EncoderTeacher', arch=dict(embed_dim=16, depth=2, num_heads=2, patch_size=8),
        img_size=32, random_weights=True,
    )  # fmt: skip
    with pytest.raises(ConfigError, match=words('distillation.inherit', 'EncoderTeacher')):
        distiller(
            encoder, inherit=['head.fc'],
            taps=dict(tokens=dict(student='backbone.blocks.-1', teacher='norm')),
            losses=dict(loss_tokens=dict(type='MSEFeatureLoss', tap='tokens')),
        )  # fmt: skip


def test_a_teacher_with_random_weights_leaves_the_student_as_it_is(teacher):
    random = {**teacher, 'checkpoint': None, 'random_weights': True}
    states = [distiller(random, inherit=names).student.state_dict() for names in ((), ['head'])]
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items())


def test_training_goes_on_from_it(teacher):
    model = distiller(teacher, inherit=['head.fc'])
    assert all(p.requires_grad for p in model.student.head.parameters())
    assert model.student.head.fc.weight.shape[0] == CLASSES
