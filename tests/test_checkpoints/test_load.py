"""Loading accounts for every name."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from g2sd_mm.checkpoints import CheckpointError, Weights, load_verified
from g2sd_mm.checkpoints.facts import facts_of
from g2sd_mm.checkpoints.fill import fill, fill_start
from g2sd_mm.checkpoints.load import compare, defects
from g2sd_mm.checkpoints.uses import uses_of
from g2sd_mm.distill.teachers.mae import MAETeacher
from g2sd_mm.distill.teachers.openmmlab import OpenMMLabTeacher

from ..helpers.toys import STUDENT, TEACHER, autoencoder, classifier, classifier_cfg, save, words


def net() -> nn.Module:
    return nn.ModuleDict({'a': nn.Linear(2, 3), 'b': nn.Linear(3, 1)})


def load(module: nn.Module, state: dict, **options) -> None:
    weights = Weights('/some/folder/file.pth', state)
    load_verified(module, state, weights, purpose='the test', **options)


def test_a_file_that_fits_is_loaded():
    source, target = net(), net()
    load(target, source.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(),
                                                 strict=True))


def test_dtype_stays_the_modules():
    target = net().double()
    load(target, net().state_dict())
    assert {p.dtype for p in target.parameters()} == {torch.float64}


def test_every_deviation_is_named_in_one_line():
    state = net().state_dict()
    state['a.weight'] = torch.zeros(4, 2)
    del state['b.bias']
    state |= {f'c.{i}': torch.zeros(1) for i in range(5)}
    target = net()
    before = target.a.bias.clone()
    message = words(
        'file.pth cannot serve as the test: it is a file of another model',
        '1 of another size (a.weight is 4x2, expected 3x2)', '1 missing (b.bias)',
        '5 unknown (c.0, c.1, c.2 and 2 more)', 'Try another.',
    )
    with pytest.raises(CheckpointError, match=message) as caught:
        load(target, state, advice='Try another.')
    assert '\n' not in str(caught.value)
    assert '/some/folder' not in str(caught.value)
    assert torch.equal(target.a.bias, before)  # nothing was loaded


def test_a_second_name_of_a_tensor_is_not_unknown():
    head, state = nn.ModuleDict({'head': nn.Linear(2, 2)}), {}
    for part in ('head', 'decoder'):  # the decoder got it in training
        state |= {f'{part}.{name}': tensor for name, tensor in head['head'].state_dict().items()}
    assert not compare(head.state_dict(), state).problems()
    state['decoder.weight'] = state['decoder.weight'] + 1
    assert compare(head.state_dict(), state).extra == ('decoder.weight',)
    token = torch.zeros(1, 1, 2)  # alike before they are trained, and no parts of two modules
    both = dict(cls_token=token, dist_token=token)
    assert compare(dict(cls_token=token), both).extra == ('dist_token',)


def test_exceptions_are_patterns():
    state, target = net().state_dict(), net()
    kept = target.b.bias.clone()
    del state['b.bias']
    state['c.1'] = torch.zeros(1)
    load(target, state, may_miss=('b.*',), may_ignore=('c.*',))
    assert torch.equal(target.b.bias, kept)
    assert torch.equal(target.a.weight, state['a.weight'])
    with pytest.raises(CheckpointError, match=words('1 missing (b.bias)')):
        load(target, state, may_miss=('b.weight',), may_ignore=('c.*',))


def test_a_size_is_never_an_exception():
    state = {**net().state_dict(), 'b.bias': torch.zeros(7)}
    with pytest.raises(CheckpointError, match=words('b.bias is 7, expected 1')):
        load(net(), state, may_miss=('*',), may_ignore=('*',))


def spoilt(value):
    def change(tensor):
        tensor = tensor.clone()
        tensor.view(-1)[-1] = value
        return tensor

    return change


#: What is wrong -> how a tensor becomes that.
BROKEN = {
    'NaN': spoilt(math.nan),
    'infinite': spoilt(-math.inf),
    'all zeros': torch.zeros_like,
    'int8': lambda tensor: tensor.to(torch.int8),
    'int64': lambda tensor: tensor.to(torch.int64),
    'bool': lambda tensor: tensor.to(torch.bool),
    'complex64': lambda tensor: tensor.to(torch.complex64),
}
every_break = pytest.mark.parametrize('what', BROKEN)


def broken(model, name, what):
    state = model.state_dict()
    state[name] = BROKEN[what](state[name])
    return state


@every_break
def test_it_is_named(what):
    state = broken(autoencoder(), 'blocks.1.mlp.fc1.weight', what)
    (found,) = defects(state)
    assert found.startswith('blocks.1.mlp.fc1.weight') and what in found
    facts = facts_of(Weights('x.pth', state))
    assert facts.broken == (found,) and found in facts.notes[-1]
    assert uses_of(facts, 'x.pth') == []


@every_break
@pytest.mark.parametrize('half', [torch.bfloat16, torch.float16])
def test_it_is_named_in_half_precision(what, half):
    state = broken(autoencoder().to(half), 'blocks.1.mlp.fc1.weight', what)
    assert [what in found for found in defects(state)] == [True]


def test_what_may_be_zero_or_an_integer_passes():
    state = {
        'a.bias': torch.zeros(3), 'cls_token': torch.zeros(1, 1, 3), 'norm.weight': torch.ones(3),
        'bn.num_batches_tracked': torch.tensor(0),
        'attn.relative_position_index': torch.zeros(2, 2).long(),
        'attn.relative_position_bias_table': torch.zeros(4, 2), 'attn.rel_pos_h': torch.zeros(3, 2),
        'pixel_decoder.encoder.layers.0.self_attn.sampling_offsets.weight': torch.zeros(4, 3),
        'decoder.layers.0.cross_attn.attention_weights.weight': torch.zeros(4, 3),
        'layer2.0.conv2.conv_offset.weight': torch.zeros(4, 3, 1, 1),
        'bbox_head.reg_branches.0.4.weight': torch.zeros(4, 3),
        'x.weight': torch.zeros(0, 3), 'y.weight': torch.zeros(2, 2, device='meta'),
    }  # fmt: skip
    assert defects(state) == []


@every_break
def test_a_stage_1_teacher_is_refused(tmp_path, what):
    file = save(tmp_path / 'mae.pth', broken(autoencoder(), 'blocks.1.mlp.fc1.weight', what))
    for device in ('cpu', 'meta'):  # as it is checked before a run
        message = words('mae.pth', 'blocks.1.mlp.fc1.weight', what)
        with pytest.raises(CheckpointError, match=message), torch.device(device):
            MAETeacher('decoder_blocks.1', file, **TEACHER)


@every_break
def test_a_stage_2_teacher_is_refused(tmp_path, what):
    file = save(tmp_path / 'vit.pth', broken(classifier(), 'head.fc.weight', what))
    with pytest.raises(CheckpointError, match=words('vit.pth', 'head.fc.weight', what)):
        OpenMMLabTeacher(dict(model=classifier_cfg()), file)


@every_break
def test_a_start_is_refused(tmp_path, what):
    file = save(tmp_path / 'mae.pth', broken(autoencoder(STUDENT), 'blocks.0.mlp.fc1.weight', what))
    with pytest.raises(CheckpointError, match=words('mae.pth', 'blocks.0.mlp.fc1.weight', what)):
        fill_start(autoencoder(STUDENT), file)
    with pytest.raises(CheckpointError, match=words('mae.pth', 'blocks.0.mlp.fc1.weight', what)):
        fill(classifier().backbone, file, 'encoder')


@every_break
def test_a_student_is_refused(tmp_path, what):
    file = save(tmp_path / 'vit.pth', broken(classifier(), 'head.fc.weight', what))
    with pytest.raises(CheckpointError, match=words('vit.pth', 'head.fc.weight', what)):
        fill(classifier(), file, 'student', 'the test')


def test_what_is_not_loaded_does_not_matter(tmp_path):
    state = autoencoder(STUDENT).state_dict()
    state['decoder_pred.weight'] = torch.zeros_like(state['decoder_pred.weight'])
    file = save(tmp_path / 'mae.pth', state)
    fill(classifier().backbone, file, 'encoder')
