"""Published classifiers under mmpretrain's names."""

from __future__ import annotations

import pytest
import torch

from g2sd_mm.checkpoints import Weights
from g2sd_mm.checkpoints.convert import state_for
from g2sd_mm.checkpoints.fill import encoder_state

from ..helpers.toys import classifier, images
from ..test_distill.test_specific import specific
from .test_identify import official


@pytest.mark.parametrize('two_tokens', [True, False])
def test_a_published_classifier_predicts_in_mmpretrain(two_tokens):
    out_type = 'dist_token' if two_tokens else 'avg_featmap'
    state = state_for(Weights('x.pth', official(two_tokens)))
    source, target = classifier(out_type).eval(), classifier(out_type, seed=9).eval()
    assert not torch.equal(target(images()), source(images()))
    target.load_state_dict(state)
    assert torch.equal(target(images()), source(images()))


def test_two_heads_lie_in_one_module():
    names = set(state_for(Weights('x.pth', official(True))))
    kinds = ('weight', 'bias')
    assert {n for n in names if n.startswith('head.')} == {
        f'head.layers.{head}.{kind}' for head in ('head', 'head_dist') for kind in kinds
    }
    names = set(state_for(Weights('x.pth', official(False))))
    assert {n for n in names if n.startswith('head.')} == {'head.fc.weight', 'head.fc.bias'}


def test_a_file_of_this_project_stays_as_it_is():
    state = classifier().state_dict()
    assert state_for(Weights('x.pth', state)) == dict(state)


def test_of_a_distilled_run_the_student_is_taken():
    model = specific()
    state = state_for(Weights('x.pth', model.state_dict()))
    assert set(state) == set(model.student.state_dict())


@pytest.mark.parametrize('prefix', ['', 'backbone.', 'student.', 'student.backbone.'])
def test_an_encoder_is_found_wherever_it_lies(prefix):
    inner = {'patch_embed.proj.weight': torch.zeros(1), 'blocks.0.x': torch.ones(1)}
    state = {prefix + name: tensor for name, tensor in inner.items()}
    state |= {'head.weight': torch.zeros(1), prefix + 'decoder_blocks.0.x': torch.zeros(1)}
    assert encoder_state(Weights('x.pth', state)) == inner
