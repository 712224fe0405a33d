"""Weights files: whatever they are wrapped in, a flat dict of tensors comes out."""

from __future__ import annotations

import argparse

import pytest
import torch

from g2sd_mm.checkpoints import CheckpointError, read_weights
from g2sd_mm.checkpoints.read import below, without_prefix

from ..toys import words

STATE = {'a.weight': torch.ones(2), 'a.bias': torch.zeros(2)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'file.pth'


@pytest.mark.parametrize(
    'content',
    [
        STATE,
        {'state_dict': STATE},
        {'model': STATE, 'optimizer': {}, 'epoch': 3, 'args': argparse.Namespace(lr=1.0)},
        {'module': STATE, 'dp_world_size': 8},
        {'model': {'module': STATE}},
        {f'module.{name}': tensor for name, tensor in STATE.items()},
        {'model': {f'module.{name}': tensor for name, tensor in STATE.items()}},
        {'state_dict': {**STATE, '_metadata': 'x', 'step': 3}},
    ],
    ids=['bare', 'state_dict', 'model', 'module', 'nested', 'prefix', 'model+prefix', 'extras'],
)
def test_wrappers_are_taken_off(path, content):
    torch.save(content, path)
    weights = read_weights(path)
    assert set(weights.state) == set(STATE)
    assert all(torch.equal(weights.state[name], STATE[name]) for name in STATE)
    assert weights.name == 'file.pth'


def test_safetensors_are_read(tmp_path):
    safetensors = pytest.importorskip('safetensors.torch')
    path = tmp_path / 'file.safetensors'
    safetensors.save_file(STATE, path)
    assert set(read_weights(path).state) == set(STATE)


def test_what_a_file_says_of_itself_is_kept(path):
    torch.save({'state_dict': STATE, 'meta': {'epoch': 3}}, path)
    assert read_weights(path).meta == {'epoch': 3}
    torch.save({'state_dict': STATE, 'meta': None}, path)
    assert read_weights(path).meta == {}


@pytest.mark.parametrize('content', [{}, {'model': {}}, {'epoch': 3}, [1, 2], 'text'])
def test_a_file_without_tensors_is_refused(path, content):
    torch.save(content, path)
    message = words('file.pth holds no weights', 'state_dict, model, module')
    with pytest.raises(CheckpointError, match=message):
        read_weights(path)


def test_a_missing_file_is_named(path):
    with pytest.raises(FileNotFoundError, match=r'file\.pth: no such checkpoint file'):
        read_weights(path)


def test_prefixes():
    assert without_prefix({'m.a': 1, 'm.b': 2}, 'm.') == {'a': 1, 'b': 2}
    assert without_prefix({'m.a': 1, 'b': 2}, 'm.') == {'m.a': 1, 'b': 2}
    assert without_prefix({}, 'm.') == {}
    assert below({'m.a': 1, 'n.a': 2}, 'm.') == {'a': 1}
