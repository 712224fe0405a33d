"""The published step as a whole: the reference's numbers, with what its loops do around them."""

from __future__ import annotations

import pytest
import torch

from benchmarks.reference import ReferenceFormulation, ReleaseFormulation
from benchmarks.reference.release import norm_of_gradients
from benchmarks.speed.batches import random_batch
from benchmarks.speed.formulation import Variant
from benchmarks.speed.stages import STAGES
from benchmarks.speed.suite import Settings, measure


@pytest.mark.parametrize('name', ['generic_vits', 'cls_vits', 'seg_vits'])
def test_its_weights_after_a_step_are_the_references(name):
    stage, weights = STAGES[name], []
    for kind in (ReferenceFormulation, ReleaseFormulation):
        formulation = kind(stage, 'toy')
        ready = formulation.prepare('step', random_batch(stage, 2, 'toy'))
        torch.manual_seed(1)
        formulation.run('step', ready)
        weights.append(formulation.model.state_dict())
    assert weights[0].keys() == weights[1].keys()
    for key, tensor in weights[0].items():
        assert torch.allclose(tensor.float(), weights[1][key].float(), atol=1e-6), key


def test_stochastic_depth_of_its_detection_teacher_is_on():
    teacher = ReleaseFormulation(STAGES['det_vits'], 'toy').model.teacher
    assert teacher.model.backbone.training
    assert teacher.model.backbone.blocks[-1].drop_path.drop_prob == pytest.approx(0.1)


def test_the_norm_is_that_of_all_gradients():
    model = torch.nn.Linear(2, 2)
    model.weight.grad, model.bias.grad = torch.full((2, 2), 2.0), torch.full((2,), 3.0)
    assert norm_of_gradients(model).item() == pytest.approx((4 * 4 + 2 * 9) ** 0.5)


def test_it_is_one_more_line_of_every_step():
    settings = Settings(
        ('cls_vits',), ('step', 'teacher'), (Variant(),), 'toy', batch=2, pairs=1, release=True
    )
    lines = [(f.part, f.variant) for f in measure(settings)['speed']]
    assert lines == [
        ('step', 'float32'), ('step', 'float32 / release'), ('teacher', 'float32'),
    ]  # fmt: skip
