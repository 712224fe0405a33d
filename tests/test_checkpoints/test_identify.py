"""Saying what a file is, from its names."""

from __future__ import annotations

import pytest
import torch

from g2sd_mm.checkpoints import CheckpointError, Kind, Weights, describe, identify
from g2sd_mm.checkpoints.convert import convert_state
from g2sd_mm.checkpoints.facts import facts_of
from g2sd_mm.checkpoints.fill import fill
from g2sd_mm.checkpoints.uses import uses_of
from g2sd_mm.models.mae import MAEPretraining

from ..helpers.fake_checkpoints import BASE, FAKES, hollow_state
from ..helpers.toys import STUDENT, TEACHER, autoencoder, classifier, distiller, save
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
    Kind.OTHER_VIT: lambda: named('patch_embed.proj.weight', 'blocks.0.ls1.gamma'),
    Kind.UNKNOWN: lambda: named('conv1.weight', 'layer1.0.bn1.bias'),
}


def test_every_kind_is_tested():
    assert set(STATES) == set(Kind)


@pytest.mark.parametrize('kind', Kind, ids=lambda kind: kind.name)
def test_every_kind_is_told_by_its_tensors(kind):
    assert identify(STATES[kind]()) is kind


def test_the_size_is_said_where_it_can_be_seen():
    assert describe(autoencoder(TEACHER).state_dict()) == (
        'a full masked autoencoder (encoder and decoder), ViT of width 24 and depth 3'
    )
    assert describe(distiller().state_dict()).endswith('ViT of width 16 and depth 2')
    assert describe(named('conv1.weight')) == 'a file of another model'


#: timm's model -> what it is called.
TIMM = {
    'vit_small_patch14_dinov2': 'DINOv2',
    'vit_small_patch14_reg4_dinov2': 'DINOv2',
    'vit_small_patch16_dinov3': 'DINOv3',
    'deit3_small_patch16_224': 'DeiT III',
    'eva02_tiny_patch14_224': 'EVA',
    'vit_base_patch16_clip_224': 'CLIP',
    'vit_base_patch16_siglip_224': 'SigLIP',
    'beitv2_base_patch16_224': 'BEiT',
    'vit_base_patch16_rpn_224': 'ViT',
    'vit_small_patch16_18x2_224': 'ViT',
    'samvit_base_patch16': 'SAM',
}
#: transformers' model -> what it is called.
HUGGING_FACE = {
    'Dinov2': 'DINOv2', 'Dinov2WithRegisters': 'DINOv2', 'DINOv3ViT': 'DINOv3',
    'CLIPVision': 'CLIP', 'SiglipVision': 'SigLIP', 'Beit': 'BEiT', 'Data2VecVision': 'data2vec',
}  # fmt: skip


def timm_state(name: str) -> dict[str, torch.Tensor]:
    timm = pytest.importorskip('timm')
    with torch.device('meta'):
        try:
            return timm.create_model(name).state_dict()
        except RuntimeError as error:  # an older timm, or one that computes
            pytest.skip(str(error))


def hugging_face_state(name: str) -> dict[str, torch.Tensor]:
    transformers = pytest.importorskip('transformers')
    size = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
                image_size=32, patch_size=8)  # fmt: skip
    if not hasattr(transformers, f'{name}Model'):
        pytest.skip(f'no {name} in this version of transformers')
    config = getattr(transformers, f'{name}Config')(**size)
    with torch.device('meta'):
        return getattr(transformers, f'{name}Model')(config).state_dict()


def check(state: dict[str, torch.Tensor], called: str) -> None:
    facts = facts_of(Weights('x.safetensors', state))
    assert called in facts.title and 'MAE' not in facts.title
    assert called in describe(state)
    assert facts.notes
    assert uses_of(facts, 'x.safetensors') == []


@pytest.mark.parametrize('name', TIMM)
def test_timms(name):
    check(timm_state(name), TIMM[name])


@pytest.mark.parametrize('name', HUGGING_FACE)
def test_hugging_faces(name):
    check(hugging_face_state(name), HUGGING_FACE[name])


@pytest.mark.parametrize('name', ['vit_small_patch14_dinov2', 'deit3_small_patch16_224'])
def test_one_that_is_given_anyway_is_called_by_its_name(tmp_path, name):
    with torch.device('meta'):
        state = timm_state(name)
    few = {n: torch.ones(t.shape) for n, t in state.items() if not n.startswith('blocks.1')}
    file = save(tmp_path / 'x.pth', few)
    with pytest.raises(CheckpointError, match=TIMM[name]):
        fill(classifier().backbone, file, 'encoder')


def test_one_of_the_right_width_without_a_place_for_the_class_token(tmp_path):
    state = {n: torch.ones(t.shape) for n, t in timm_state('deit3_small_patch16_224').items()}
    few = {n: t for n, t in state.items() if not n.startswith('blocks.1')}
    file = save(tmp_path / 'x.pth', few)
    with pytest.raises(CheckpointError, match='DeiT III'):
        fill(classifier(dim=384).backbone, file, 'encoder')


@pytest.mark.parametrize('name', ['vit_base_patch16_224', 'deit_tiny_distilled_patch16_224'])
def test_plain_ones_stay_what_they_are(name):
    facts = facts_of(Weights('x.pth', timm_state(name)))
    assert facts.kind in (Kind.TIMM_CLASSIFIER, Kind.TIMM_DISTILLED)
    assert uses_of(facts, 'x.pth')


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
