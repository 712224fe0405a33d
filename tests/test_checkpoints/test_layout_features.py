"""A converted student computes the same features in the library that it was converted for."""

from __future__ import annotations

import importlib
import json

import pytest
import timm
import torch
from mmengine.registry import MODELS
from timm.models.deit import VisionTransformerDistilled
from torch import nn

from g2sd_mm.checkpoints.convert import convert_state
from g2sd_mm.checkpoints.layouts import Family
from g2sd_mm.checkpoints.layouts.huggingface import hugging_face_config
from g2sd_mm.models.backbones import G2SDViTSeg
from g2sd_mm.models.masking import random_masking

from ..helpers.toys import (
    CLASSES,
    IMAGE,
    PATCH,
    PATCHES,
    TEACHER,
    arch,
    autoencoder,
    classifier,
    decoder,
    images,
)

OUT_TYPES = ('dist_token', 'avg_featmap', 'cls_token')
ATOL = 1e-5


def student(out_type: str) -> nn.Module:
    """A classifier whose every parameter has its say."""
    model = classifier(out_type, dim=64).eval()
    shaken(model)
    return model


def shaken(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))


def close(own: torch.Tensor, theirs: torch.Tensor) -> None:
    assert own.std() > 0.05  # not all alike
    torch.testing.assert_close(theirs, own, atol=ATOL, rtol=0)


def in_timm(out_type: str) -> nn.Module:
    size = dict(
        img_size=IMAGE, patch_size=PATCH, embed_dim=64, depth=2, num_heads=2, num_classes=CLASSES
    )
    if out_type == 'dist_token':
        return VisionTransformerDistilled(**size).eval()
    pool = 'avg' if out_type == 'avg_featmap' else 'token'
    return timm.models.VisionTransformer(**size, global_pool=pool).eval()


@torch.no_grad()
@pytest.mark.parametrize('out_type', OUT_TYPES)
def test_timm_computes_the_same(out_type):
    own, theirs = student(out_type), in_timm(out_type)
    theirs.load_state_dict(convert_state(own.state_dict(), 'timm').state)
    close(own(images()), theirs(images()))
    (feature,) = own.backbone(images())
    hidden = theirs.forward_features(images())
    if out_type == 'dist_token':
        close(feature[0], hidden[:, 0])
        close(feature[1], hidden[:, 1])
    else:
        close(feature, theirs.forward_head(hidden, pre_logits=True))


@torch.no_grad()
def test_a_position_that_deit_learnt_for_its_dist_token_is_kept():
    theirs = in_timm('dist_token')
    shaken(theirs)
    assert theirs.pos_embed[0, 1].abs().max() > 0.1
    own = student('dist_token')
    own.load_state_dict(convert_state(theirs.state_dict(), 'ours').state)
    close(own(images()), theirs(images()))


@pytest.fixture
def transformers(monkeypatch):
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    return pytest.importorskip('transformers', reason='needs pip install .[dev]')


def in_transformers(transformers, folder, state, config) -> nn.Module:
    """Loaded as people load a folder; every name has to be accounted for."""
    from safetensors.torch import save_file

    save_file({n: t.contiguous().clone() for n, t in state.items()}, folder / 'model.safetensors',
              metadata={'format': 'pt'})
    (folder / 'config.json').write_text(json.dumps(config))
    model, info = getattr(transformers, config['architectures'][0]).from_pretrained(
        folder, output_loading_info=True
    )
    for problem in ('missing_keys', 'unexpected_keys', 'mismatched_keys'):
        assert not info[problem], problem
    return model.eval()


@torch.no_grad()
@pytest.mark.parametrize('out_type', OUT_TYPES)
def test_hugging_face_computes_the_same(out_type, transformers, tmp_path):
    own = student(out_type)
    done = convert_state(own.state_dict(), 'huggingface')
    published = convert_state(own.state_dict(), 'g2sd').state
    config = hugging_face_config(published, done.family, heads=2)
    theirs = in_transformers(transformers, tmp_path, done.state, config)
    close(own(images()), theirs(images()).logits)
    (feature,) = own.backbone(images())
    answer = theirs.base_model(images())
    if out_type == 'dist_token':
        close(feature[0], answer.last_hidden_state[:, 0])
        close(feature[1], answer.last_hidden_state[:, 1])
    elif out_type == 'cls_token':
        close(feature, answer.last_hidden_state[:, 0])
    else:
        close(feature, answer.pooler_output)
    back = convert_state(theirs.state_dict(), 'ours')  # names that transformers has in memory
    assert set(back.state) == set(own.state_dict())


@torch.no_grad()
def test_hugging_face_masked_autoencoder(transformers, tmp_path):
    own = autoencoder(TEACHER).eval()
    shaken(own)
    done = convert_state(own.state_dict(), 'huggingface')
    config = hugging_face_config(own.state_dict(), Family.MAE, heads=2, decoder_heads=2)
    theirs = in_transformers(transformers, tmp_path, done.state, config)
    noise = torch.rand(2, PATCHES)
    masking = random_masking(noise, 0.75)
    answer = theirs(images(), noise=noise)
    close(own(images(), masking), answer.logits)
    assert torch.equal(answer.mask, masking.mask)
    own_encoded = own.encode(images(), masking).latent
    close(own_encoded, theirs.vit(images(), noise=noise).last_hidden_state)


# The mm libraries ---------------------------------------------------------------------------------


def in_mmpretrain(out_type: str) -> nn.Module:
    size = dict(embed_dims=64, num_layers=2, num_heads=2, feedforward_channels=256)
    vit = dict(arch=size, img_size=IMAGE, patch_size=PATCH, norm_cfg=dict(type='LN', eps=1e-6))
    head = dict(num_classes=CLASSES, in_channels=64)
    backbone = dict(type='VisionTransformer', out_type=out_type, **vit)
    if out_type == 'dist_token':
        backbone = dict(type='DistilledVisionTransformer', **vit)
        head |= dict(type='DeiTClsHead')
    elif out_type == 'avg_featmap':
        backbone |= dict(final_norm=False)
        head |= dict(type='LinearClsHead')
    else:
        head |= dict(type='VisionTransformerClsHead')
    config = dict(_scope_='mmpretrain', type='ImageClassifier', backbone=backbone, head=head)
    model = MODELS.build(config)
    model.eval()
    return model


@torch.no_grad()
@pytest.mark.parametrize('out_type', OUT_TYPES)
def test_mmpretrain_computes_the_same(out_type):
    own, theirs = student(out_type), in_mmpretrain(out_type)
    theirs.load_state_dict(convert_state(own.state_dict(), 'mmpretrain').state)
    close(own(images()), theirs(images()))
    back = convert_state(theirs.state_dict(), 'ours').state
    assert all(torch.equal(back[name], tensor) for name, tensor in own.state_dict().items())


@torch.no_grad()
def test_mmpretrain_reconstructs_the_same():
    importlib.import_module('mmpretrain.models.selfsup')
    own = autoencoder(dict(arch=arch(64, 2), decoder=decoder(16, 2), img_size=IMAGE)).eval()
    shaken(own)
    norm = dict(type='LN', eps=1e-6)
    size = dict(embed_dims=64, num_layers=2, num_heads=2, feedforward_channels=256)
    encoder = MODELS.build(
        dict(_scope_='mmpretrain', type='MAEViT', arch=size, img_size=IMAGE, patch_size=PATCH,
             norm_cfg=norm, mask_ratio=0.75)
    )
    neck = MODELS.build(
        dict(_scope_='mmpretrain', type='MAEPretrainDecoder', num_patches=PATCHES,
             patch_size=PATCH, embed_dim=64, decoder_embed_dim=16, decoder_depth=2,
             decoder_num_heads=2, norm_cfg=norm)
    )
    theirs = nn.ModuleDict({'backbone': encoder, 'neck': neck})
    theirs.load_state_dict(convert_state(own.state_dict(), 'mmpretrain').state)
    theirs.train(False)
    masking = random_masking(torch.rand(2, PATCHES), 0.75)
    encoder.random_masking = lambda x, *_: (
        x.gather(1, masking.keep[..., None].expand(-1, -1, 64)), masking.mask, masking.restore
    )
    latent, _, restore = encoder(images(), mask=True)
    close(own.encode(images(), masking).latent, latent)
    close(own(images(), masking), neck(latent, restore))


@pytest.mark.filterwarnings('ignore:torch.meshgrid')
@torch.no_grad()
def test_mmseg_computes_the_same():
    importlib.import_module('mmseg.models')
    own = G2SDViTSeg(arch(64, 2), img_size=64, out_indices=(0, 1))
    shaken(own)
    theirs = MODELS.build(
        dict(_scope_='mmseg', type='MAE', img_size=64, patch_size=PATCH, embed_dims=64,
             num_layers=2, num_heads=2, out_indices=(0, 1), norm_cfg=dict(type='LN', eps=1e-6),
             init_values=1.0)
    )
    theirs.eval()
    whole = {f'backbone.{name}': tensor for name, tensor in own.state_dict().items()}
    whole['decode_head.conv_seg.bias'] = torch.zeros(2)  # what makes it a segmentor's file
    done = convert_state(whole, 'mmseg').state
    state = {name.removeprefix('backbone.'): tensor for name, tensor in done.items()
             if name.startswith('backbone.')}
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith('relative_position_index') for name in missing)  # it computes them
    x = images(size=64).double()  # what comes out is not normalised, and large
    for ours, other in zip(own.double()(x), theirs.double()(x), strict=True):
        close(ours, other)
