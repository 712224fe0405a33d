"""Every layout to every other that can hold the network, and back."""

from __future__ import annotations

import pytest
import torch

from g2sd_mm.checkpoints import CheckpointError, Kind, identify, read_weights
from g2sd_mm.checkpoints.convert import convert_state, to_published_names
from g2sd_mm.checkpoints.layouts import LAYOUTS, Family

from ..helpers.fake_checkpoints import (
    BASE,
    FAKES,
    SMALL,
    TINY,
    Fake,
    hollow_state,
    random_state,
    segmentor,
    wrapped,
)
from ..helpers.toys import words

MAE = {'ours', 'g2sd', 'mae', 'timm', 'huggingface', 'mmpretrain'}
#: Family -> the layouts that can hold it.
HOLDERS = {
    Family.MAE: MAE,
    Family.CLASSIFIER: MAE,
    Family.POOLED: MAE,
    Family.DISTILLED: MAE - {'mae'},
    Family.DETECTOR: {'ours', 'g2sd', 'detectron2'},
    Family.SEGMENTOR: {'ours', 'g2sd', 'mmseg'},
}
every_fake = pytest.mark.parametrize('fake', FAKES.values(), ids=FAKES)


def state_of(fake: Fake) -> dict[str, torch.Tensor]:
    return random_state(fake.shapes(SMALL))


@every_fake
def test_every_fake_is_what_it_is_made_to_be(fake):
    state = state_of(fake)
    assert identify(state) is fake.kind
    assert convert_state(state, 'ours').kind is fake.kind


@pytest.mark.parametrize('to', LAYOUTS)
@every_fake
def test_there_and_back_is_exact(fake, to):
    state = state_of(fake)
    own = to_published_names(state)  # without the wrapping of runs and distillers
    start = convert_state(own.state, fake.layout).state
    family = convert_state(state, 'ours').family
    if to not in HOLDERS[family]:
        with pytest.raises(CheckpointError, match=words(f'{to} cannot hold', family.value)):
            convert_state(start, to)
        return
    there = convert_state(start, to)
    assert there.layout == to
    back = convert_state(there.state, fake.layout)
    lost = set(start) - set(back.state)
    assert lost <= set(there.dropped), sorted(lost - set(there.dropped))
    assert set(back.state) <= set(start)
    parts = {name.split(' ')[0] for name in there.dropped if ' (part' in name}
    for name, tensor in back.state.items():
        if name not in parts:
            assert torch.equal(tensor, start[name]), name
    if not there.dropped:
        assert set(back.state) == set(start)


def made_up(state: dict) -> int:
    """Zeros that a layout has in place of nothing: a dist token's position."""
    positions = next(t for n, t in state.items() if n.endswith(('pos_embed', 'n_embeddings')))
    return SMALL.dim if positions.shape[1] == SMALL.tokens + 1 else 0


@every_fake
def test_nothing_is_left_out_without_being_listed(fake):
    state = state_of(fake)
    for to in HOLDERS[convert_state(state, 'ours').family]:
        done = convert_state(state, to)
        values = sum(tensor.numel() for tensor in state.values()) - made_up(state)
        for name in done.dropped:
            whole, _, part = name.partition(' ')
            values -= state[whole].numel() // (3 if part else 1)
        if fake is FAKES['hf_beit'] and to != 'huggingface':
            values += SMALL.dim * SMALL.depth  # biases of the keys, zero
        kept = sum(tensor.numel() for tensor in done.state.values())
        assert kept - made_up(done.state) == values, to


@pytest.mark.parametrize(
    ('fake', 'predictor'),
    [
        ('stage1_run', 'distillation.adapters.tokens'),
        ('stage1_run_of_0_1', 'decoderfeature_pred'),
    ],
)
def test_what_a_layout_cannot_hold_is_listed_under_the_files_own_names(fake, predictor):
    student = state_of(FAKES[fake])
    done = convert_state(student, 'timm')
    assert 'student.mask_token' in done.dropped
    assert f'{predictor}.fc2.bias' in done.dropped
    assert not any('student.blocks' in name for name in done.dropped)
    published = convert_state(student, 'g2sd').state
    for part in ('fc1.weight', 'fc2.bias'):
        tensor = published[f'decoderfeature_pred.{part}']
        assert torch.equal(tensor, student[f'{predictor}.{part}'])


def test_what_a_layout_cannot_hold_of_other_networks():
    pooled = convert_state(state_of(FAKES['our_classifier']), 'huggingface')
    assert pooled.dropped == (
        'backbone.blocks.0.attn.qkv.bias (part 2 of 3)',
        'backbone.blocks.1.attn.qkv.bias (part 2 of 3)',
    )


def test_of_two_networks_the_asked_for_one_is_taken():
    state = state_of(FAKES['seg_distiller'])
    for side in ('student', 'teacher'):
        done = convert_state(state, 'g2sd', side=side)
        assert set(done.state) == {
            name for name in segmentor(SMALL) if not name.endswith('relative_position_index')
        }
        name = 'decode_head.conv_seg.weight'
        assert torch.equal(done.state[name], state[f'{side}.{name}'])
        other = 'teacher' if side == 'student' else 'student'
        assert f'{other}.{name}' in done.dropped
    with pytest.raises(ValueError, match="side 'both' is none of student, teacher"):
        convert_state(state, 'g2sd', side='both')


@every_fake
def test_an_unknown_name_is_an_error_that_names_it(fake):
    message = words('cannot convert', '1 names are not of', 'extra.thing')
    with pytest.raises(CheckpointError, match=message):
        convert_state({**state_of(fake), 'extra.thing': torch.zeros(1)}, 'ours')


def test_half_a_projection_is_an_error():
    state = state_of(FAKES['hf_vit'])
    del state['vit.encoder.layer.1.attention.attention.query.weight']
    message = words('only a part is there of blocks.1.attn.qkv.weight')
    with pytest.raises(CheckpointError, match=message):
        convert_state(state, 'ours')


def test_a_beits_separate_biases_are_put_together():
    state = state_of(FAKES['mmseg'])
    whole = state.pop('backbone.layers.1.attn.qkv.bias')
    queries, keys, values = whole.chunk(3)
    state['backbone.layers.1.attn.q_bias'] = queries
    state['backbone.layers.1.attn.v_bias'] = values
    done = convert_state(state, 'ours').state['backbone.blocks.1.attn.qkv.bias']
    assert torch.equal(done, torch.cat([queries, torch.zeros_like(keys), values]))


def test_a_foreign_file_is_an_error():
    with pytest.raises(CheckpointError, match=words('a file of another model', 'conv1.weight')):
        convert_state({'conv1.weight': torch.zeros(1)}, 'ours')
    with pytest.raises(ValueError, match="unknown layout 'keras': known are ours, g2sd"):
        convert_state(state_of(FAKES['mae_full']), 'keras')


def test_queries_keys_and_values_are_cut_in_this_order():
    state = state_of(FAKES['mae_encoder'])
    parts = convert_state(state, 'huggingface').state
    whole = state['blocks.0.attn.qkv.weight']
    for i, part in enumerate(('query', 'key', 'value')):
        name = f'vit.encoder.layer.0.attention.attention.{part}.weight'
        assert torch.equal(parts[name], whole[i * 32 : (i + 1) * 32])


@pytest.mark.parametrize('to', ['timm', 'huggingface', 'mmpretrain'])
def test_a_dist_token_gets_a_position_of_zeros_and_second_place(to):
    state = state_of(FAKES['g2sd_classifier'])
    done = convert_state(state, to).state
    (positions,) = (t for n, t in done.items() if n.endswith(('pos_embed', 'position_embeddings')))
    assert not positions[:, 1].any()
    assert torch.equal(positions[:, 0], state['pos_embed'][:, 0])
    assert torch.equal(positions[:, 2:], state['pos_embed'][:, 1:])


@pytest.mark.parametrize('size', [TINY, BASE], ids=['tiny', 'base'])
@every_fake
def test_full_size_files_are_read_identified_and_converted(fake, size, tmp_path):
    shapes = fake.shapes(size)
    torch.save(wrapped(fake, hollow_state(shapes)), tmp_path / 'file.pth')
    weights = read_weights(tmp_path / 'file.pth')
    assert {name: tuple(t.shape) for name, t in weights.state.items()} == shapes
    assert identify(weights.state) is fake.kind
    done = convert_state(weights.state, 'ours')
    if fake.layout == 'ours' and fake.kind not in (Kind.STAGE1_RUN, Kind.STAGE2_RUN):
        assert {name: tuple(t.shape) for name, t in done.state.items()} == shapes
