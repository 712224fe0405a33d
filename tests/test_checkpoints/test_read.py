"""Weights files: whatever they are wrapped in, a flat dict of tensors comes out."""

from __future__ import annotations

import argparse
import json

import pytest
import torch

from g2sd_mm.checkpoints import CheckpointError, read_weights
from g2sd_mm.checkpoints.read import below

from ..helpers.toys import words

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
    link = tmp_path / 'weights.pth'
    link.symlink_to(path)
    assert set(read_weights(link).state) == set(STATE)


def test_what_a_file_says_of_itself_is_kept(path):
    torch.save({'state_dict': STATE, 'meta': {'epoch': 3}}, path)
    assert read_weights(path).meta == {'epoch': 3}
    torch.save({'state_dict': STATE, 'meta': None}, path)
    assert read_weights(path).meta == {}


@pytest.mark.parametrize('tensor', [
    torch.ones(2, device='meta'),
    torch.ones(2).to_sparse(),
    torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.qint8),
])  # fmt: skip
def test_tensors_that_cannot_be_loaded_are_refused(path, tensor):
    torch.save({**STATE, 'a.bias': tensor}, path)
    with pytest.raises(CheckpointError, match=words(str(path), 'a.bias', 'plain')):
        read_weights(path)


@pytest.mark.parametrize('content', [{}, {'model': {}}, {'epoch': 3}, [1, 2], 'text'])
def test_a_file_without_tensors_is_refused(path, content):
    torch.save(content, path)
    message = words('file.pth holds no weights', 'state_dict, model, module')
    with pytest.raises(CheckpointError, match=message):
        read_weights(path)


def test_a_missing_file_is_named(path):
    with pytest.raises(FileNotFoundError, match=r'file\.pth: no such checkpoint file'):
        read_weights(path)


def test_a_prefix_goes_only_where_every_name_has_it():
    assert below({'m.a': 1, 'n.a': 2}, 'm.') == {'a': 1}


# Folders and shards -------------------------------------------------------------------------------


@pytest.fixture
def save_safely():
    return pytest.importorskip('safetensors.torch').save_file


def test_a_hugging_face_folder_is_read(tmp_path, save_safely):
    save_safely(STATE, tmp_path / 'model.safetensors')
    (tmp_path / 'config.json').write_text('{"model_type": "vit"}')
    weights = read_weights(tmp_path)
    assert set(weights.state) == set(STATE)
    assert weights.config == {'model_type': 'vit'}
    assert weights.files == (tmp_path / 'model.safetensors',)


def test_an_older_folder_is_read(tmp_path):
    torch.save(STATE, tmp_path / 'pytorch_model.bin')
    weights = read_weights(tmp_path)
    assert set(weights.state) == set(STATE)
    assert weights.config == {}


def shards(folder, save) -> dict[str, str]:
    places = {name: f'model-{i}.safetensors' for i, name in enumerate(STATE)}
    for name, file in places.items():
        save({name: STATE[name]}, folder / file)
    (folder / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': places}))
    return places


@pytest.mark.parametrize('name', ['', 'model.safetensors.index.json'])
def test_shards_are_read_by_folder_or_index(tmp_path, save_safely, name):
    shards(tmp_path, save_safely)
    weights = read_weights(tmp_path / name)
    assert all(torch.equal(weights.state[n], t) for n, t in STATE.items())
    assert len(weights.files) == len(STATE)


def test_a_shard_alone_is_no_network(tmp_path, save_safely):
    file = tmp_path / 'model-00002-of-00003.safetensors'
    save_safely(STATE, file)
    with pytest.raises(CheckpointError, match=words(str(file), 'model.safetensors.index.json')):
        read_weights(file)
    only = file.rename(tmp_path / 'model-00001-of-00001.safetensors')
    assert set(read_weights(only).state) == set(STATE)


def test_a_lacking_shard_or_tensor_is_named(tmp_path, save_safely):
    places = shards(tmp_path, save_safely)
    places['c.weight'] = 'model-0.safetensors'
    index = tmp_path / 'model.safetensors.index.json'
    index.write_text(json.dumps({'weight_map': places}))
    with pytest.raises(CheckpointError, match=words('1 tensors of the index', 'c.weight')):
        read_weights(tmp_path)
    (tmp_path / 'model-1.safetensors').unlink()
    with pytest.raises(CheckpointError, match=words('the shard model-1.safetensors', 'fetch it')):
        read_weights(tmp_path)


@pytest.mark.parametrize('name', ['../../etc/passwd', '/etc/passwd', '..', '', 'x.index.json'])
def test_a_shard_outside_of_the_folder_is_refused(tmp_path, name):
    index = tmp_path / 'x.index.json'
    index.write_text(json.dumps({'weight_map': {'a': name}}))
    with pytest.raises(CheckpointError, match=words('outside of its folder', 'refused')):
        read_weights(index)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{', 'not a JSON file'),
        ('[' * 10**5, 'not a JSON file'),
        ('[]', 'expected a JSON object'),
        ('{}', 'no weight_map'),
    ],
)
def test_a_wrong_index_is_reported(tmp_path, content, message):
    (tmp_path / 'x.index.json').write_text(content)
    with pytest.raises(CheckpointError, match=message):
        read_weights(tmp_path / 'x.index.json')


def test_an_empty_folder_is_reported(tmp_path):
    (tmp_path / 'best_weights.pth').touch()
    with pytest.raises(CheckpointError, match=words('model.safetensors', 'best_weights.pth')):
        read_weights(tmp_path)


def test_the_command_line_of_an_official_file_is_kept(path):
    torch.save({'model': STATE, 'args': argparse.Namespace(norm_pix_loss=True)}, path)
    assert read_weights(path).args == {'norm_pix_loss': True}


@pytest.mark.parametrize('mmap', [True, False])
def test_mapped_tensors_are_the_same(path, mmap):
    torch.save({'model': STATE}, path)
    weights = read_weights(path, mmap=mmap)
    assert all(torch.equal(weights.state[name], STATE[name]) for name in STATE)
