"""``frozen_stages`` as OpenMMLab has it: no gradient, evaluation mode, no place in an optimizer."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from g2sd_mm.engine import ViTLayerDecayConstructor
from g2sd_mm.errors import UserError

from ..helpers.toys import IMAGE, arch, images

KINDS = {
    'G2SDViT': dict(out_type='cls_token'),
    'G2SDViTDet': dict(pretrain_img_size=IMAGE, window_size=2, global_blocks=(1,)),
    'G2SDViTSeg': dict(out_indices=(0, 1)),
}


def backbone(kind: str, stages: int) -> nn.Module:
    cfg = dict(type=kind, arch=arch(16), img_size=IMAGE, drop_path_rate=0.5, frozen_stages=stages)
    model = MODELS.build({**cfg, **KINDS[kind]})
    model.init_weights()
    return model


def frozen(model: nn.Module) -> set[str]:
    return {n for n, parameter in model.named_parameters() if not parameter.requires_grad}


def below(model: nn.Module, *places: str) -> set[str]:
    return {name for name, _ in model.named_parameters() if name.startswith(places)}


@pytest.mark.parametrize('kind', KINDS)
def test_the_embedding_then_the_blocks_then_the_norm_are_frozen(kind):
    embedding = 'patch_embed', 'pos_embed', 'cls_token'
    for stages, parts in {
        -1: (), 0: embedding, 1: (*embedding, 'blocks.0.'),
        2: (*embedding, 'blocks.', 'norm.'),
    }.items():  # fmt: skip
        model = backbone(kind, stages)
        assert frozen(model) == (below(model, *parts) if parts else set()), stages


@pytest.mark.parametrize('kind', KINDS)
def test_frozen_blocks_stay_in_evaluation_mode(kind):
    model = backbone(kind, 1)
    for mode in (True, False, True):
        model.train(mode)
        assert [block.training for block in model.blocks] == [False, mode]
        assert not model.patch_embed.training
    assert 'blocks.1.mlp.fc1.weight' not in frozen(model)


@pytest.mark.parametrize('kind', KINDS)
def test_an_update_leaves_frozen_parameters_alone(kind):
    """Weight decay included, which needs no gradient."""
    model = backbone(kind, 1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    settings = dict(optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.5))
    wrapper = ViTLayerDecayConstructor(settings, dict(layer_decay_rate=0.5))(model)
    held = {id(p) for group in wrapper.optimizer.param_groups for p in group['params']}
    named = dict(model.named_parameters())
    assert held == {id(p) for name, p in named.items() if name not in frozen(model)}
    wrapper.update_params(sum(out.square().mean() for out in model(images())))
    changed = {name for name, p in named.items() if not torch.equal(p, before[name])}
    assert not changed & frozen(model)
    assert 'blocks.1.attn.qkv.weight' in changed


@pytest.mark.parametrize('stages', [-2, 3])
def test_blocks_that_there_are_not_cannot_be_frozen(stages):
    with pytest.raises(UserError, match=rf'model\.backbone\.frozen_stages={stages}.*-1\.\.2'):
        backbone('G2SDViT', stages)
