"""Converted weights in the files that the target library expects."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from g2sd_mm.checkpoints import CheckpointError, identify, read_weights
from g2sd_mm.checkpoints.convert import convert_state
from g2sd_mm.checkpoints.write import write_layout

from ..helpers.fake_checkpoints import FAKES, SMALL, random_state
from ..helpers.toys import words


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
