"""Transposed sin-cos tables are found, refused and mended."""

from __future__ import annotations

import pytest
import torch

from g2sd_mm.checkpoints import CheckpointError, Weights
from g2sd_mm.checkpoints.convert import convert_state
from g2sd_mm.checkpoints.positions import (
    TRAINED_TRANSPOSED,
    check_positions,
    is_transposed,
    transpose_positions,
)
from g2sd_mm.distill.teachers.mae import MAETeacher
from g2sd_mm.models.backbones import G2SDViT
from g2sd_mm.models.positions import sincos_position_embedding

from ..helpers.toys import TEACHER, arch, autoencoder, images, save, words

GRID = (14, 14)


def table(dim: int = 32) -> torch.Tensor:
    return sincos_position_embedding(dim, GRID)


def transposed(dim: int = 32) -> torch.Tensor:
    return transpose_positions({'pos_embed': table(dim)})['pos_embed']


def test_the_table_of_mmpretrain_is_the_transposed_one():
    from mmpretrain.models.utils import build_2d_sincos_position_embedding

    theirs = build_2d_sincos_position_embedding(14, 32, cls_token=True)
    torch.testing.assert_close(transposed(), theirs.reshape(1, 197, 32).float())


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_only_the_transposed_table_is_found(dtype):
    assert is_transposed(transposed().to(dtype))
    assert not is_transposed(table().to(dtype))


@pytest.mark.parametrize(
    'other',
    [torch.randn(1, 197, 32), torch.zeros(1, 197, 32), torch.ones(1, 197, 32),
     torch.randn(1, 198, 32), torch.randn(1, 2, 32), torch.randn(1, 197, 32, device='meta')],
    ids=['learnt', 'zeros', 'ones', 'two rows over', 'one patch', 'meta'],
)
def test_other_tables_are_left_alone(other):
    assert not is_transposed(other)


@pytest.mark.parametrize('shape', [(0, 5, 4), (1, 0, 4), (1, 5, 0)])
def test_an_empty_table_is_none(shape):
    assert not is_transposed(torch.zeros(shape))


def test_twice_is_as_before():
    state = {'pos_embed': table(), 'decoder_pos_embed': table(16), 'norm.bias': torch.ones(2)}
    once = transpose_positions(state)
    assert not torch.equal(once['decoder_pos_embed'], state['decoder_pos_embed'])
    twice = transpose_positions(once)
    assert all(torch.equal(twice[name], tensor) for name, tensor in state.items())


def mixed_up(**meta) -> Weights:
    state = transpose_positions(autoencoder(TEACHER).state_dict())
    return Weights('/folder/mae.pth', state, meta)


def test_a_mixed_up_file_is_refused_with_both_ways_out():
    weights = mixed_up()
    message = words(
        'mae.pth: its sin-cos position embedding is transposed',
        'checkpoint.py convert /folder/mae.pth FIXED.pth --to ours --positions transpose',
        '--positions keep',
    )
    with pytest.raises(CheckpointError, match=message) as caught:
        check_positions(weights, weights.state['pos_embed'])
    assert '\n' not in str(caught.value)


def test_a_file_that_says_so_passes():
    weights = mixed_up(**TRAINED_TRANSPOSED)
    check_positions(weights, weights.state['pos_embed'])


def test_in_its_own_library_it_is_the_right_one():
    state = convert_state(mixed_up().state, 'mmpretrain').state
    check_positions(Weights('mm.pth', state), state['backbone.pos_embed'])


def test_neither_a_teacher_nor_a_backbone_takes_it(tmp_path):
    path = save(tmp_path / 'mae.pth', mixed_up().state)
    with pytest.raises(CheckpointError, match='position embedding is transposed'):
        MAETeacher(**TEACHER, checkpoint=path)
    backbone = G2SDViT(arch(24, 3), img_size=32, init_cfg=dict(checkpoint=path))
    with pytest.raises(CheckpointError, match='position embedding is transposed'):
        backbone.init_weights()


def test_from_mmpretrain_it_is_taken_as_it_was_trained(tmp_path):
    own = autoencoder(TEACHER).eval()
    own.load_state_dict(mixed_up().state)
    path = save(tmp_path / 'mm.pth', convert_state(own.state_dict(), 'mmpretrain').state)
    teacher = MAETeacher(**TEACHER, checkpoint=path)
    from g2sd_mm.models.masking import random_masking

    masking = random_masking(torch.rand(2, 16), 0.75)
    with torch.no_grad():
        wanted = own.decode(own.encode(images(), masking).latent, masking)
        latent = teacher.model.encode(images(), masking).latent
        torch.testing.assert_close(teacher.model.decode(latent, masking), wanted)
