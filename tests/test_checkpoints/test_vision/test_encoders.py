"""What a file's encoder is called, and its size: the right name or a vague one, never a wrong one.

The state dicts are those of timm's and transformers' own constructors.
"""

from __future__ import annotations

import os

import pytest
import torch

from g2sd_mm.checkpoints import (
    CheckpointError,
    Kind,
    Weights,
    describe,
    identify,
    read_weights,
)
from g2sd_mm.checkpoints.facts import facts_of
from g2sd_mm.checkpoints.fill import fill
from g2sd_mm.checkpoints.identify import title_of
from g2sd_mm.checkpoints.uses import uses_of
from g2sd_mm.checkpoints.vision import plain_encoder, vision_encoder
from g2sd_mm.checkpoints.vision.names import Names
from g2sd_mm.checkpoints.vision.teaching import how_to_teach
from g2sd_mm.models.positions import sincos_position_embedding

from ...helpers.encoders import (
    TINY_CONV,
    TINY_SWIN,
    TINY_TEXT,
    TINY_VIT,
    as_real,
    hugging_face,
    save_folder,
    timm_state,
)
from ...helpers.toys import classifier, save

DINOV3_OR = 'DINOv3, EUPE or LingBot ViT'
BEITS = 'BEiT, BEiT v2 or data2vec ViT'
SIGLIPS = 'SigLIP or SigLIP 2 ViT'
PLAIN = 'plain ViT encoder with learnt positions'
#: timm's model -> what it is called, the start of it, after the article.
CALLED = {
    'vit_small_patch14_dinov2': 'DINOv2 ViT-S/14',
    'vit_base_patch14_dinov2': 'DINOv2 ViT-B/14',
    'vit_large_patch14_dinov2': 'DINOv2 ViT-L/14',
    'vit_giant_patch14_dinov2': 'DINOv2 ViT-g/14',
    'vit_small_patch14_reg4_dinov2': 'DINOv2 ViT-S/14 with 4 registers',
    'vit_base_patch14_reg4_dinov2': 'DINOv2 ViT-B/14 with 4 registers',
    'vit_small_patch16_dinov3': 'DINOv3 ViT-S/16 with 4 registers',
    'vit_small_plus_patch16_dinov3': 'DINOv3 ViT-S+/16 with 4 registers',
    'vit_base_patch16_dinov3': 'DINOv3 ViT-B/16 with 4 registers',
    'vit_huge_plus_patch16_dinov3': 'DINOv3 ViT-H+/16 with 4 registers',
    'vit_small_patch16_dinov3_qkvb': f'{DINOV3_OR}-S/16',
    'vit_base_patch16_dinov3_qkvb': f'{DINOV3_OR}-B/16',
    'vit_base_patch16_lingbot': f'{DINOV3_OR}-B/16',
    'vit_tiny_patch16_dinov3_qkvb': 'EUPE ViT-Ti/16 with 4 registers',
    'beit_base_patch16_224': f'{BEITS}-B/16',
    'beitv2_base_patch16_224': f'{BEITS}-B/16',
    'beitv2_large_patch16_224': f'{BEITS}-L/16',
    'beit3_base_patch16_224': 'BEiT-3 ViT-B/16',
    'eva02_tiny_patch14_224': 'EVA-02 ViT-Ti/14',
    'eva02_base_patch14_224': 'EVA-02 ViT-B/14',
    'eva02_base_patch16_clip_224': 'EVA-02 ViT-B/16',
    'eva_giant_patch14_224': 'EVA ViT-g/14',
    'vit_base_patch16_clip_224': 'CLIP ViT-B/16',
    'vit_base_patch32_clip_quickgelu_224': 'CLIP ViT-B/32',
    'vit_xsmall_patch16_clip_224': 'CLIP ViT (timm',
    'vit_base_patch16_siglip_224': f'{SIGLIPS}-B/16',
    'vit_so400m_patch14_siglip_384': f'{SIGLIPS}-SO400M/14',
    'vit_base_patch16_siglip_gap_224': 'ViT-B/16 without a class token',
    'vit_base_patch16_gap_224': 'ViT-B/16 without a class token',
    'deit3_small_patch16_224': 'DeiT III ViT-S/16',
    'deit3_base_patch16_384': 'DeiT III ViT-B/16',
    'vit_base_patch14_reg1_tipsv2': 'TIPSv2 ViT-B/14 with 1 register (',
    'vit_base_patch16_radio_v3': 'RADIO ViT-B/16 with 7 registers',
    'vit_pe_core_tiny_patch16_384': 'Perception Encoder (PE) ViT-Ti/16',
    'vit_pe_spatial_tiny_patch16_512': 'Perception Encoder (PE) ViT-Ti/16',
    'aimv2_large_patch14_224': 'AIMv2 ViT-L/14',
    'vit_base_patch16_rope_224': 'RoPE ViT-B/16',
    'vit_base_patch16_rpn_224': 'ViT-B/16 with blocks of another kind',
    'vit_base_patch16_reg4_gap_256': 'ViT-B/16 with blocks of another kind with 4 registers',
    'vit_small_patch16_18x2_224': 'ViT with blocks of another kind',
    'vit_base_r50_s16_224': 'hybrid of ResNet and ViT',
    'samvit_base_patch16': 'SAM ViT-B/16',
    'sam2_hiera_tiny': 'SAM 2 Hiera',
    'hiera_tiny_224': 'Hiera (',
    'hiera_small_abswin_256': 'Hiera (',
    'convnext_tiny': 'ConvNeXt (',
    'convnext_atto_rms': 'ConvNeXt (',
    'convnextv2_tiny': 'ConvNeXt V2 (',
    'swin_tiny_patch4_window7_224': 'Swin (',
    'swinv2_tiny_window8_256': 'Swin V2 (timm',
    'swinv2_cr_tiny_224': 'Swin V2 (CR) (',
    'naflexvit_base_patch16_siglip': 'NaFlex ViT',
    'resnet50': 'ResNet (',
}
#: Those without a name of their own, and what they are called, in full.
PLAIN_ONES = {
    'vit_base_patch16_224': Kind.TIMM_CLASSIFIER,
    'deit_small_patch16_224': Kind.TIMM_CLASSIFIER,
    'deit_tiny_distilled_patch16_224': Kind.TIMM_DISTILLED,
    'eva_large_patch14_196': Kind.MAE_FINETUNED,
    'repvit_m1': Kind.UNKNOWN,
    'fastvit_t8': Kind.UNKNOWN,
    'mobilenetv4_conv_small': Kind.UNKNOWN,
    'tiny_vit_5m_224': Kind.UNKNOWN,
}


@pytest.mark.parametrize('name', CALLED)
def test_timms_models_are_called_by_their_names(name):
    state = timm_state(name)
    facts = facts_of(Weights('x.safetensors', state))
    called = facts.title.partition(' ')[2]
    assert called.startswith(CALLED[name])
    assert facts.kind is Kind.OTHER_ENCODER and 'MAE' not in facts.title
    assert title_of(state) == facts.title and facts.title in describe(state)
    assert uses_of(facts, 'x.safetensors') == []
    assert any('start nothing' in note for note in facts.notes)


@pytest.mark.parametrize('name', PLAIN_ONES)
def test_those_that_share_a_layout_are_called_by_the_layout(name):
    state = timm_state(name)
    facts = facts_of(Weights('x.pth', state))
    assert facts.kind is PLAIN_ONES[name]
    assert vision_encoder(state) is None
    for other in ('DINOv', 'CLIP', 'SigLIP', 'EVA', 'BEiT', 'DeiT III'):
        assert other not in facts.title


def test_a_dist_token_has_a_place_in_no_grid():
    assert Names(timm_state('deit_tiny_distilled_patch16_224')).grid == (14, 14)


def test_the_size_is_told():
    said = facts_of(Weights('x.pth', timm_state('vit_small_patch14_reg4_dinov2'))).size
    assert said == {
        'width': 384, 'patch': 14, 'depth': 12, 'registers': 4, 'class token': 'yes',
        'positions': '37x37 table (518 px)',
    }  # fmt: skip
    said = facts_of(Weights('x.pth', timm_state('vit_base_patch16_dinov3'))).size
    assert (said['positions'], said['class token']) == ('rotary', 'yes')
    said = facts_of(Weights('x.pth', timm_state('swin_tiny_patch4_window7_224'))).size
    assert (said['width'], said['stages'], said['positions']) == (768, '2-2-6-2', 'relative')
    said = facts_of(Weights('x.pth', timm_state('convnext_atto'))).size
    assert (said['width'], said['depth'], said['stages']) == (320, 12, '2-2-6-2')
    assert facts_of(Weights('x.pth', timm_state('hiera_tiny_224'))).size['width'] == 768
    assert facts_of(Weights('x.pth', timm_state('resnet18'))).size['width'] == 512


# transformers -------------------------------------------------------------------------------------

#: transformers' model -> what it is called, and its arguments if it is not a ViT.
HUGGING_FACE = {
    'Dinov2': ('DINOv2 ViT', {}),
    'Dinov2WithRegisters': ('DINOv2 ViT with 4 registers', {}),
    'DINOv3ViT': ('DINOv3 ViT', {}),
    'DINOv3ConvNext': ('DINOv3 ConvNeXt', TINY_CONV),
    'CLIPVision': ('CLIP ViT', {}),
    'SiglipVision': ('SigLIP or SigLIP 2 ViT', {}),
    'Siglip2Vision': ('SigLIP 2 ViT', {}),
    'Beit': ('BEiT, BEiT v2 or data2vec ViT', {}),
    'Data2VecVision': ('BEiT, BEiT v2 or data2vec ViT', {}),
    'IJepa': ('ViT without a class token', {}),
    'Aimv2Vision': ('AIMv2 ViT', {}),  # the head that pools has a token of its own
    'ConvNext': ('ConvNeXt', TINY_CONV),
    'ConvNextV2': ('ConvNeXt V2', TINY_CONV),
    'Swin': ('Swin', TINY_SWIN),
    'Swinv2': ('Swin V2', TINY_SWIN),
    'Hiera': ('Hiera', dict(embed_dim=8, depths=[1, 1, 1, 1])),
}


@pytest.mark.parametrize('name', HUGGING_FACE)
def test_transformers_models_in_memory_and_on_disk(name, tmp_path):
    called, size = HUGGING_FACE[name]
    model = hugging_face(name, **size)
    model.save_pretrained(tmp_path)
    in_memory = Weights('x.pth', dict(model.state_dict()))
    on_disk = read_weights(tmp_path / 'model.safetensors')
    folder = read_weights(tmp_path)
    for weights in (in_memory, on_disk, folder):
        facts = facts_of(weights)
        assert facts.title.partition(' ')[2] == f'{called} (Hugging Face names)'
        assert facts.kind is Kind.OTHER_ENCODER
        if not size:
            assert (facts.size['width'], facts.size['depth'], facts.size['patch']) == (16, 2, 8)
            without = name in ('SiglipVision', 'Siglip2Vision', 'IJepa', 'Aimv2Vision')
            assert facts.size['class token'] == ('no' if without else 'yes')


def test_a_mae_that_transformers_has_saved_is_one(tmp_path):
    transformers = pytest.importorskip('transformers')
    decoder = dict(decoder_hidden_size=16, decoder_num_hidden_layers=2,
                   decoder_num_attention_heads=2, decoder_intermediate_size=32)  # fmt: skip
    config = transformers.ViTMAEConfig(**TINY_VIT, **decoder)
    network = transformers.ViTMAEForPreTraining(config)
    network.decoder.decoder_pos_embed.data.normal_()
    network.save_pretrained(tmp_path)
    for weights in (read_weights(tmp_path), Weights('x.pth', dict(network.state_dict()))):
        facts = facts_of(weights)
        assert facts.kind is Kind.HUGGING_FACE_MAE and facts.encoder is not None
        assert (facts.size['decoder width'], facts.size['decoder depth']) == (16, 2)


@pytest.mark.parametrize('name', ['ViT', 'ViTMAE', 'ViTMSN'])
def test_plain_ones_of_transformers_stay_what_they_are(name):
    state = hugging_face(name).state_dict()
    assert identify(state) is Kind.HUGGING_FACE


def test_image_and_text_in_one_file(tmp_path):
    for name, called in (('CLIP', 'CLIP ViT'), ('Siglip', 'SigLIP or SigLIP 2 ViT')):
        folder = save_folder(
            name, tmp_path / name, vision_config=TINY_VIT, text_config=TINY_TEXT
        )
        facts = facts_of(read_weights(folder))
        assert called in facts.title
        assert (facts.size['width'], facts.size['depth']) == (16, 2)


# Original releases --------------------------------------------------------------------------------


def renamed(state: dict, *pairs: tuple[str, str]) -> dict:
    for old, new in pairs:
        state = {name.replace(old, new): tensor for name, tensor in state.items()}
    return state


def meta(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, device='meta')


def test_files_of_the_original_releases():
    dinov2 = timm_state('vit_small_patch14_reg4_dinov2') | {'mask_token': meta(1, 384)}
    dinov2['pos_embed'] = meta(1, 1370, 384)
    dinov2 = renamed(dinov2, ('reg_token', 'register_tokens'))
    assert title_of(dinov2) == 'a DINOv2 ViT-S/14 with 4 registers'

    dinov3 = renamed(
        timm_state('vit_small_patch16_dinov3'),
        ('reg_token', 'storage_tokens'), ('gamma_1', 'ls1.gamma'), ('gamma_2', 'ls2.gamma'),
    ) | {'rope_embed.periods': meta(16), 'mask_token': meta(1, 384)}  # fmt: skip
    assert title_of(dinov3) == 'a DINOv3 ViT-S/16 with 4 registers'
    with_bias = dinov3 | {f'blocks.{i}.attn.qkv.bias': meta(1152) for i in range(12)}
    assert title_of(with_bias) == 'a DINOv3, EUPE or LingBot ViT-S/16 with 4 registers'
    assert title_of(with_bias | {'projectors.x': meta(1)}).startswith('a EUPE ViT-S/16')

    deit3 = renamed(timm_state('deit3_small_patch16_224'), ('ls1.gamma', 'gamma_1'))
    assert title_of(deit3) == 'a DeiT III ViT-S/16'


# What cannot be told from names -------------------------------------------------------------------


def test_only_fixed_positions_make_a_plain_encoder_maes():
    state = {
        name: tensor
        for name, tensor in timm_state('vit_small_patch16_224').items()
        if not name.startswith('head.')
    }
    assert identify(state) is Kind.MAE_ENCODER
    assert title_of(state) == Kind.MAE_ENCODER.title  # nothing is known of its values
    learnt = {**state, 'pos_embed': torch.randn(1, 197, 384)}
    assert PLAIN in title_of(learnt)
    fixed = sincos_position_embedding(384, (14, 14))
    for table in (fixed, fixed.half(), fixed.bfloat16()):
        assert title_of({**state, 'pos_embed': table}) == 'an encoder-only MAE'
    moved = fixed.clone()
    moved[0, 0] = 0.1
    assert PLAIN in title_of({**state, 'pos_embed': moved})


@pytest.mark.parametrize(
    ('name', 'seen'),
    [
        ('vit_base_patch16_224', {'model': 'vit_base_patch16_224.mae'}),
        (  # timm has no MAE of that size
            'vit_small_patch16_224',
            {'model': 'vit_small_patch16_224', 'mean': [0.485, 0.456, 0.406]},
        ),
    ],
)
def test_a_mae_sees_images_as_maes_do(name, seen):
    state = timm_state(name, num_classes=0)
    state['pos_embed'] = sincos_position_embedding(state['pos_embed'].shape[-1], (14, 14))
    teaching = how_to_teach(Weights('mae.pth', state), plain_encoder(state), 'mae.pth')
    assert seen.items() <= teaching.teacher.items() and not teaching.note


@pytest.mark.parametrize('name', ['vit_small_patch14_dinov2', 'deit3_small_patch16_224'])
def test_one_that_is_given_as_a_start_is_called_by_its_name(tmp_path, name):
    state = timm_state(name)
    few = as_real({n: t for n, t in state.items() if not n.startswith('blocks.1')})
    file = save(tmp_path / 'x.pth', few)
    for backbone in (classifier().backbone, classifier(dim=384).backbone):
        with pytest.raises(CheckpointError) as caught:
            fill(backbone, file, 'encoder')
        assert title_of(few).split(' (')[0] in str(caught.value)


@pytest.mark.skipif(not os.environ.get('G2SD_DINOV2_FILE'), reason='no DINOv2 file here')
def test_a_real_dinov2_file():
    facts = facts_of(read_weights(os.environ['G2SD_DINOV2_FILE'], mmap=True))
    assert facts.title == 'a DINOv2 ViT-S/14 (timm names)'
    assert facts.size['positions'] == '37x37 table (518 px)'
    assert set(facts.dtypes) == {'float16'} and not facts.broken
