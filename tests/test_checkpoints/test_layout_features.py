"""A converted student computes the same features in the library that it was converted for."""

from __future__ import annotations

import json

import pytest
import timm
import torch
from timm.models.deit import VisionTransformerDistilled
from torch import nn

from g2sd_mm.checkpoints.convert import convert_state
from g2sd_mm.checkpoints.layouts import Family
from g2sd_mm.checkpoints.layouts.huggingface_config import hugging_face_config
from g2sd_mm.models.masking import random_masking

from ..toys import CLASSES, IMAGE, PATCH, PATCHES, TEACHER, autoencoder, classifier, images

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
def test_timm(out_type):
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
    return pytest.importorskip('transformers', reason='transformers is not installed')


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
def test_hugging_face(out_type, transformers, tmp_path):
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
