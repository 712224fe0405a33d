"""Files are whole or not there."""

from __future__ import annotations

import errno
import os
import pickle
import resource

import numpy as np
import pytest
import torch

from g2sd_mm.checkpoints import CheckpointError, identify, read_weights
from g2sd_mm.checkpoints.convert import convert_state
from g2sd_mm.checkpoints.write import write_layout, write_weights

from ..helpers.fake_checkpoints import FAKES, SMALL, random_state
from ..helpers.toys import words


def test_weights_are_read_back(tmp_path):
    path = tmp_path / 'weights.pth'
    tensor = torch.nn.Parameter(torch.randn(3))
    write_weights(path, {'a': tensor}, {'epoch': 1, 'none': None})
    weights = read_weights(path)
    assert torch.equal(weights.state['a'], tensor)
    assert not weights.state['a'].requires_grad
    assert weights.meta == {'epoch': 1, 'none': None}
    assert os.listdir(tmp_path) == ['weights.pth']


def test_a_view_is_written_without_what_it_is_a_view_of(tmp_path):
    path = tmp_path / 'weights.pth'
    write_weights(path, {'a': torch.zeros(1_000_000)[:2]}, {})
    assert path.stat().st_size < 10_000


@pytest.mark.parametrize('existing', [True, False])
def test_a_failure_leaves_no_part(tmp_path, monkeypatch, existing):
    path = tmp_path / 'weights.pth'
    if existing:
        write_weights(path, {'a': torch.ones(1)}, {})

    def full(content, file):
        file.write(b'part')
        raise OSError('No space left on device')

    monkeypatch.setattr(torch, 'save', full)
    with pytest.raises(OSError, match='No space left'):
        write_weights(path, {'a': torch.zeros(1)}, {})
    monkeypatch.undo()
    assert os.listdir(tmp_path) == (['weights.pth'] if existing else [])
    if existing:
        assert read_weights(path).state['a'].item() == 1


def test_a_file_that_cannot_grow_is_told_as_such_by_torchs_writer_too(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            write_weights(tmp_path / 'weights.pth', {'a': torch.rand(50_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG and not os.listdir(tmp_path)


def test_the_target_appears_only_when_it_is_whole(tmp_path, monkeypatch):
    path = tmp_path / 'weights.pth'
    seen = []
    replace = os.replace

    def spy(source, target):
        seen.append((path.exists(), torch.load(source, weights_only=True)['meta']))
        replace(source, target)

    monkeypatch.setattr(os, 'replace', spy)
    write_weights(path, {'a': torch.zeros(1)}, {'epoch': 1})
    assert seen == [(False, {'epoch': 1})]


def conversion(name: str, to: str):
    return convert_state(random_state(FAKES[name].shapes(SMALL)), to)


@pytest.mark.parametrize(
    ('name', 'to', 'wrapper'),
    [
        ('mae_full', 'ours', 'state_dict'),
        ('mae_full', 'mae', 'model'),
        ('mae_full', 'timm', None),
        ('our_segmentor', 'g2sd', 'state_dict'),
        ('our_distilled', 'g2sd', 'model'),
        ('detectron2', 'detectron2', 'model'),
        ('mmpretrain_mae', 'mmpretrain', 'state_dict'),
    ],
)
def test_torch_files_are_wrapped_as_the_layouts_own(name, to, wrapper, tmp_path):
    done = conversion(name, to)
    path = tmp_path / 'new' / 'out.pth'
    write_layout(path, done, {'converted_from': 'x.pth'})
    content = torch.load(path, weights_only=True)
    assert set(content[wrapper] if wrapper else content) == set(done.state)
    assert read_weights(path).meta == ({'converted_from': 'x.pth'} if wrapper else {})
    assert all(torch.equal(t, done.state[n]) for n, t in read_weights(path).state.items())


def test_parts_of_a_tensor_are_written_alone(tmp_path):
    done = conversion('mae_encoder', 'huggingface')
    write_layout(tmp_path / 'out.pth', done, {})
    values = sum(tensor.nbytes for tensor in done.state.values())
    assert (tmp_path / 'out.pth').stat().st_size < 1.1 * values + 100_000


def test_safetensors_keep_what_the_file_says(tmp_path):
    done = conversion('mae_full', 'ours')
    write_layout(tmp_path / 'out.safetensors', done, {'positions': 'transposed'})
    weights = read_weights(tmp_path / 'out.safetensors')
    assert weights.meta['positions'] == 'transposed'
    assert all(torch.equal(t, done.state[n]) for n, t in weights.state.items())


def test_detectron2_has_pickles_of_arrays(tmp_path):
    done = conversion('detectron2', 'detectron2')
    write_layout(tmp_path / 'out.pkl', done, {})
    content = pickle.loads((tmp_path / 'out.pkl').read_bytes())
    assert set(content) == {'model', '__author__'}
    assert all(isinstance(array, np.ndarray) for array in content['model'].values())
    assert identify(read_weights(tmp_path / 'out.pkl').state) is FAKES['detectron2'].kind


def test_hugging_face_has_a_folder(tmp_path):
    done = conversion('mae_full', 'huggingface')
    write_layout(tmp_path / 'out', done, {}, {'model_type': 'vit_mae'})
    weights = read_weights(tmp_path / 'out')
    assert weights.config == {'model_type': 'vit_mae'}
    assert set(weights.state) == set(done.state)
    with pytest.raises(CheckpointError, match='Hugging Face wants a folder'):
        write_layout(tmp_path / 'out.pth', done, {}, {'model_type': 'vit_mae'})


@pytest.mark.parametrize('name', ['out', 'out.onnx', 'out.pkl'])
def test_other_endings_are_refused(name, tmp_path):
    with pytest.raises(CheckpointError, match=words(name, 'cannot write ours weights')):
        write_layout(tmp_path / name, conversion('mae_full', 'ours'), {})
    assert not list(tmp_path.iterdir())
