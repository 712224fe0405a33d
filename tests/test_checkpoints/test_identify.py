"""Saying what a file is, from its names."""

from __future__ import annotations

import pytest
import torch

from g2sd_mm.checkpoints import Kind, Weights, describe, identify
from g2sd_mm.checkpoints.convert import convert_state
from g2sd_mm.checkpoints.facts import facts_of
from g2sd_mm.checkpoints.identify import doubt
from g2sd_mm.checkpoints.uses import uses_of
from g2sd_mm.models.mae import MAEPretraining

from ..helpers.fake_checkpoints import BASE, FAKES, hollow_state
from ..helpers.toys import STUDENT, TEACHER, autoencoder, classifier, distiller
from ..test_distill.test_specific import specific


def official(two_tokens: bool) -> dict:
    """A published classifier's names."""
    model = classifier('dist_token' if two_tokens else 'avg_featmap')
    head = 'head.layers.' if two_tokens else 'head.fc.'
    new = '' if two_tokens else 'head.'
    return {
        name.removeprefix('backbone.').replace(head, new): tensor
        for name, tensor in model.state_dict().items()
    }


def encoder() -> dict:
    return distiller().deployable_state()


def named(*names: str) -> dict:
    return {name: torch.zeros(1) for name in names}


STATES = {
    Kind.STAGE1_RUN: lambda: distiller().state_dict(),
    Kind.FEATURE_RUN: lambda: named(
        'student.network.stem.0.weight', 'distillation.adapters.patches.fc1.bias'
    ),
    Kind.STAGE2_RUN: lambda: specific().state_dict(),
    Kind.MAE_RUN: lambda: MAEPretraining(**STUDENT).state_dict(),
    Kind.MAE_FULL: lambda: autoencoder().state_dict(),
    Kind.MAE_ENCODER: encoder,
    Kind.MM_CLASSIFIER: lambda: classifier().state_dict(),
    Kind.G2SD_CLASSIFIER: lambda: official(True),
    Kind.MAE_FINETUNED: lambda: official(False),
    Kind.TIMM_CLASSIFIER: lambda: encoder() | named('head.weight', 'head.bias'),
    Kind.G2SD_STUDENT: lambda: autoencoder().state_dict() | named('decoderfeature_pred.fc1.bias'),
    Kind.SEG_DISTILLER: lambda: named('student.backbone.x', 'teacher.backbone.x'),
    Kind.DETECTRON2: lambda: named('backbone.net.pos_embed', 'roi_heads.box_head.fc1.bias'),
    Kind.MM_DETECTOR: lambda: named('backbone.pos_embed', 'rpn_head.rpn_cls.bias'),
    Kind.MM_SEGMENTOR: lambda: named('backbone.pos_embed', 'decode_head.conv_seg.bias'),
    Kind.PUBLISHED_SEGMENTOR: lambda: named('backbone.fpn1.0.bias', 'decode_head.conv_seg.bias'),
    Kind.HUGGING_FACE: lambda: named('vit.encoder.layer.0.attention.output.dense.bias'),
    Kind.HUGGING_FACE_MAE: lambda: named(
        'vit.encoder.layer.0.attention.output.dense.bias', 'decoder.decoder_layers.0.output.bias'
    ),
    Kind.HUGGING_FACE_DEIT: lambda: named(
        'deit.encoder.layer.0.attention.output.dense.bias', 'deit.embeddings.distillation_token'
    ),
    Kind.MMPRETRAIN_MAE: lambda: named('backbone.layers.0.ln1.bias', 'neck.mask_token'),
    Kind.MMPRETRAIN_CLASSIFIER: lambda: named('backbone.layers.0.ln1.bias', 'head.fc.bias'),
    Kind.MMSEG_MAE: lambda: named('backbone.layers.0.ln1.bias', 'decode_head.conv_seg.bias'),
    Kind.TIMM_DISTILLED: lambda: convert_state(official(True), 'timm').state,
    Kind.OTHER_ENCODER: lambda: named('patch_embed.proj.weight', 'blocks.0.ls1.gamma'),
    Kind.UNKNOWN: lambda: named('conv1.weight', 'layer1.0.bn1.bias'),
}


def test_every_kind_is_tested():
    assert set(STATES) == set(Kind)


@pytest.mark.parametrize('kind', Kind, ids=lambda kind: kind.name)
def test_every_kind_is_told_by_its_tensors(kind):
    assert identify(STATES[kind]()) is kind


def test_the_positions_of_a_dist_token_are_known_or_in_doubt():
    own = official(True)
    own['pos_embed'] = torch.randn(1, 50, own['pos_embed'].shape[2])
    converted = {**own, 'pos_embed': own['pos_embed'].clone()}
    converted['pos_embed'][0, 1] = 0
    assert identify(own) is identify(own, (7, 7)) is Kind.G2SD_CLASSIFIER
    assert identify(converted) is identify(own, (6, 8)) is Kind.TIMM_DISTILLED
    weights = Weights('x.pth', own)
    assert all(said in doubt(weights) for said in ('x.pth', '7x7', '6x8', '--grid'))
    square = {**own, 'pos_embed': own['pos_embed'][:, :18]}
    fixed = {**own, 'pos_embed': autoencoder().state_dict()['pos_embed']}  # 1 + 4 x 4
    certain = (square, converted, fixed, official(False))
    assert not any(doubt(Weights('x.pth', state)) for state in certain)
    assert not any(doubt(Weights('x.pth', own, {'grid': grid})) for grid in ('7x7', '6x8'))


def test_the_size_is_said_where_it_can_be_seen():
    assert describe(autoencoder(TEACHER).state_dict()) == (
        'a full masked autoencoder (encoder and decoder), ViT of width 24 and depth 3'
    )
    assert describe(distiller().state_dict()).endswith('ViT of width 16 and depth 2')
    assert describe(named('conv1.weight')) == 'a file of another model'
    stock = named('backbone.conv1.weight', 'head.fc.weight', 'head.fc.bias')
    assert describe(stock) == 'an mmpretrain classifier'  # of a ResNet


# What is offered ----------------------------------------------------------------------------------


def offered(state: dict[str, torch.Tensor]) -> str:
    return ' '.join(command for _, command in uses_of(facts_of(Weights('x.pth', state)), 'x.pth'))


def test_a_config_is_named_for_its_own_size_only():
    plain = hollow_state(FAKES['mae_finetuned'].shapes(BASE))
    assert 'configs/imagenet' in offered(plain)
    shallow = {n: t for n, t in plain.items() if not n.startswith('blocks.11.')}
    assert 'configs/' not in offered(shallow) and 'CONFIG' in offered(shallow)
    few = {n: t[:10] if n.startswith('head.') else t for n, t in plain.items()}
    assert 'distillation.teacher.checkpoint' in offered(few)
    assert 'configs/' not in offered(few)


def test_no_row_for_the_class_token_is_no_use():
    state = dict(hollow_state(FAKES['timm'].shapes(BASE)))
    state['pos_embed'] = state['pos_embed'][:, 1:]
    facts = facts_of(Weights('x.pth', state))
    assert any('pos_embed has 196 rows' in note for note in facts.notes)
    assert offered(state) == ''


def test_a_network_with_unknown_layers_has_no_use():
    for name in ('mae_encoder', 'mmpretrain_vit', 'hf_vit', 'our_classifier', 'mmseg'):
        state = dict(hollow_state(FAKES[name].shapes(BASE)))
        assert offered(state)
        state['backbone.something.else'] = torch.ones(1)
        assert 'configs/' not in offered(state), name
