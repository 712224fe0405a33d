"""Weights fitted to another image size."""

from __future__ import annotations

import pytest
import torch

from g2sd_mm.models.decomposed_attention import resize_table
from g2sd_mm.models.fit import fit_to_image
from g2sd_mm.models.positions import resize_positions

from ..helpers.fake_checkpoints import SMALL, detectron2, mae_full, random_state, segmentor


def test_an_autoencoder_gets_both_of_its_position_embeddings():
    state = random_state(mae_full(SMALL))
    fitted = fit_to_image(state, 320)
    for name in ('pos_embed', 'decoder_pos_embed'):
        wanted = resize_positions(state[name], (14, 14), (20, 20))
        assert torch.equal(fitted[name], wanted)
    changed = {name for name in state if fitted[name] is not state[name]}
    assert changed == {'pos_embed', 'decoder_pos_embed'}


def test_a_segmentor_gets_its_tables_too():
    state = random_state(segmentor(SMALL))
    fitted = fit_to_image(state, 256)
    assert fitted['backbone.pos_embed'].shape[1] == 1 + 16 * 16
    for i in range(SMALL.depth):
        table = fitted[f'backbone.blocks.{i}.attn.relative_position_bias_table']
        assert len(table) == 31 * 31 + 3


def test_a_detector_gets_the_tables_of_its_global_blocks():
    state = random_state(detectron2(type(SMALL)(depth=3)))
    fitted = fit_to_image(state, 512)
    name = 'backbone.net.blocks.{}.attn.rel_pos_h'
    assert torch.equal(fitted[name.format(2)], resize_table(state[name.format(2)], 32))
    for unchanged in (name.format(0), name.format(1), 'backbone.net.pos_embed'):
        assert fitted[unchanged] is state[unchanged]


def test_the_same_size_changes_nothing():
    state = random_state(segmentor(SMALL))
    fitted = fit_to_image(state, SMALL.image)
    assert all(fitted[name] is tensor for name, tensor in state.items())


def test_a_side_has_to_divide_into_patches():
    with pytest.raises(ValueError, match='img_size 100 is not a multiple of patch_size 16'):
        fit_to_image(random_state(mae_full(SMALL)), 100)


def test_height_and_width_may_differ():
    state = random_state(segmentor(SMALL))
    fitted = fit_to_image(state, (256, 320))
    wanted = resize_positions(state['backbone.pos_embed'], (14, 14), (16, 20))
    assert torch.equal(fitted['backbone.pos_embed'], wanted)
    table = fitted['backbone.blocks.0.attn.relative_position_bias_table']
    assert len(table) == 31 * 39 + 3
    back = fit_to_image(fitted, 224, (16, 20))
    assert back['backbone.pos_embed'].shape == state['backbone.pos_embed'].shape
    detector = fit_to_image(random_state(detectron2(type(SMALL)(depth=3))), (512, 256))
    sides = [detector[f'backbone.net.blocks.2.attn.rel_pos_{side}'] for side in 'hw']
    assert [len(side) for side in sides] == [63, 31]
