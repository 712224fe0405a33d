"""Names that training tools have added to are those of the network again."""

from __future__ import annotations

import json

import pytest
import torch

from g2sd_mm.checkpoints import CheckpointError, Kind, Weights, identify, read_weights
from g2sd_mm.checkpoints.facts import facts_of
from g2sd_mm.checkpoints.read import shared_prefix, unwrapped
from g2sd_mm.checkpoints.uses import uses_of

from ..helpers.fake_checkpoints import FAKES, SMALL, random_state


@pytest.fixture(scope='module')
def plain():
    return random_state(FAKES['timm'].shapes(SMALL))


def around(prefix):
    return lambda name: prefix + name


def inside(part):
    return lambda name: name.replace('blocks.1.', f'blocks.1.{part}.')


RENAMED = {
    'ddp': around('module.'),
    'compiled': around('_orig_mod.'),
    'compiled ddp': around('_orig_mod.module.'),
    'ddp of compiled': around('module._orig_mod.'),
    'twice': around('module.module.'),
    'lightning': around('model.'),
    'lightning of compiled': around('model._orig_mod.'),
    'compiled by block': inside('_orig_mod'),
    'ddp of compiled blocks': lambda name: 'module.' + inside('_orig_mod')(name),
    'fsdp': lambda name: '_fsdp_wrapped_module.' + inside('_fsdp_wrapped_module')(name),
    'fsdp with checkpoints': inside('_fsdp_wrapped_module._checkpoint_wrapped_module'),
}


@pytest.mark.parametrize('rename', RENAMED.values(), ids=RENAMED)
def test_wrappers_leave_no_trace(tmp_path, plain, rename):
    path = tmp_path / 'file.pth'
    torch.save({'state_dict': {rename(name): t for name, t in plain.items()}}, path)
    weights = read_weights(path)
    assert identify(weights.state) is Kind.TIMM_CLASSIFIER
    assert list(weights.state) == list(plain)
    assert all(torch.equal(weights.state[name], plain[name]) for name in plain)
    facts = facts_of(weights)
    assert facts.family is not None and uses_of(facts, 'file.pth')
    (note,) = facts.notes
    assert all(prefix in note for prefix in weights.prefixes)


def test_a_prefix_goes_only_where_every_name_has_it():
    assert unwrapped({'module.a': 1, 'b': 2}, 'x')[0] == {'module.a': 1, 'b': 2}
    assert unwrapped({'module.a': 1, 'module.b': 2}, 'x') == ({'a': 1, 'b': 2}, ('module.',))
    assert unwrapped({'module.': 1}, 'x')[0] == {'module.': 1}
    assert unwrapped({}, 'x') == ({}, ())
    assert shared_prefix({'net.a': 1, 'net.b': 2}) == 'net.'
    assert shared_prefix({'net.a': 1, 'b': 2}) == shared_prefix({}) == ''


def test_two_networks_under_one_name_are_refused():
    with pytest.raises(CheckpointError, match=r'x\.pth.*_orig_mod.*called a'):
        unwrapped({'_orig_mod.a': 1, 'a': 2}, 'x.pth')


def test_parts_of_fsdp_are_refused():
    with pytest.raises(CheckpointError, match=r'x\.pth.*_flat_param.*full_state_dict'):
        unwrapped({'_fsdp_wrapped_module._flat_param': 1}, 'x.pth')


def test_shards_lose_what_all_of_them_have(tmp_path, plain):
    """Not what all names of one shard have: a shard can hold one part of a network."""
    save = pytest.importorskip('safetensors.torch').save_file
    for head, left in (('lm_head.weight', 'model.a'), ('model.head', 'a')):
        save({'model.a': torch.ones(1)}, tmp_path / '1.safetensors')
        save({head: torch.ones(1)}, tmp_path / '2.safetensors')
        places = {'model.a': '1.safetensors', head: '2.safetensors'}
        (tmp_path / 'x.index.json').write_text(json.dumps({'weight_map': places}))
        assert left in read_weights(tmp_path / 'x.index.json').state


def test_an_unknown_prefix_is_named(plain):
    facts = facts_of(Weights('x.pth', {f'net.{name}': t for name, t in plain.items()}))
    assert facts.kind is Kind.UNKNOWN and '"net."' in facts.title
