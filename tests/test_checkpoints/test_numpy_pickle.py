"""Pickles of arrays are read, and nothing else of them is."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from g2sd_mm.checkpoints import CheckpointError, read_weights
from g2sd_mm.checkpoints.numpy_pickle import read_numpy_pickle
from g2sd_mm.compat.safe_load import UnsafeCheckpointError

from ..helpers.toys import Calls, words

ARRAYS = {
    'large': np.arange(6000, dtype=np.float32).reshape(20, 300),
    'half': np.arange(4, dtype=np.float16),
    'whole': np.arange(4),
    'turned': np.arange(6, dtype=np.float64).reshape(2, 3).T,
    'swapped': np.arange(3, dtype='>f4'),
    'scalar': np.array(2.0),
}


@pytest.fixture
def pickled(tmp_path):
    def write(content, protocol=4, name='model.pkl') -> Path:
        path = tmp_path / name
        path.write_bytes(pickle.dumps(content, protocol))
        return path

    return write


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_arrays_become_tensors(pickled, protocol):
    content = {'model': ARRAYS, '__author__': 'somebody', 'step': np.float32(3)}
    weights = read_weights(pickled(content, protocol))
    assert set(weights.state) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert weights.state[name].shape == array.shape
        assert np.array_equal(weights.state[name].numpy(), array), name
    assert weights.state['half'].dtype is torch.float16


def test_the_ending_does_not_matter(pickled):
    weights = read_weights(pickled({'model': ARRAYS}, name='model.pth'))
    assert set(weights.state) == set(ARRAYS)


@pytest.mark.parametrize('protocol', [2, 4])
def test_a_pickle_that_would_write_a_file_is_refused(pickled, tmp_path, protocol):
    target = tmp_path / 'written'
    content = {'model': ARRAYS, 'x': Calls(Path.write_text, target, 'you have been had')}
    path = pickled(content, protocol)
    pickle.loads(path.read_bytes())
    assert target.exists()  # the file is what it is made to be
    target.unlink()
    with pytest.raises(UnsafeCheckpointError, match='refused: the pickle asks for') as caught:
        read_weights(path)
    assert not target.exists()
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('content', 'asked'),
    [
        (Calls(os.system, 'true'), 'system'),
        (Calls(getattr, str, 'join'), 'getattr'),
        (Calls(eval, '1'), 'eval'),
        (torch.zeros(2), 'torch'),
    ],
)
def test_whatever_else_is_asked_for_is_named(pickled, content, asked):
    with pytest.raises(UnsafeCheckpointError, match=words('refused: the pickle asks for', asked)):
        read_weights(pickled({'model': {'a': content}}))


def test_arrays_of_objects_are_refused(pickled):
    with pytest.raises(UnsafeCheckpointError, match=words('model.pkl: refused', 'objects')):
        read_weights(pickled({'a': np.array([[], 'x'], dtype=object)}))


def test_a_truncated_pickle_is_reported_wherever_it_ends(pickled):
    path = pickled({'model': ARRAYS})
    whole = path.read_bytes()
    for end in (3, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(CheckpointError, match=words('model.pkl', 'fetch it again')):
            read_weights(path)


def test_plain_values_pass(pickled):
    content = {'a': [1, 2.5, 'x', None, True], 'b': (b'bytes',)}
    assert read_numpy_pickle(pickled(content)) == content


def test_the_readers_own_parts_cannot_be_changed(pickled, tmp_path):
    # dtype, then its state as (None, attributes to set)
    path = tmp_path / 'model.pkl'
    path.write_bytes(b'\x80\x02cnumpy\ndtype\n(N}X\x05\x00\x00\x00_callX\x01\x00\x00\x00xstb.')
    with pytest.raises(UnsafeCheckpointError, match='tries to change what reads it'):
        read_weights(path)
    read_weights(pickled({'model': ARRAYS}))


def test_an_array_that_claims_more_than_it_has_is_refused(pickled):
    path = pickled({'model': {'a': ARRAYS['large']}})
    data = path.read_bytes()
    assert data.count(b'M,\x01') == 1  # 300, the second side
    path.write_bytes(data.replace(b'M,\x01', b'M,\x02'))
    with pytest.raises(CheckpointError, match=words('an array of shape (20, 556) has 24000 bytes')):
        read_weights(path)


def test_a_frame_that_claims_more_than_the_file_takes_no_memory(pickled):
    path = pickled(ARRAYS)
    content = path.read_bytes()
    assert content[2:3] == pickle.FRAME
    path.write_bytes(content[:3] + (10**13).to_bytes(8, 'little') + content[11:])
    with pytest.raises(CheckpointError, match=words('model.pkl', 'fetch it again')):
        read_numpy_pickle(path)


def test_bytes_that_are_announced_and_not_there_take_no_memory(tmp_path):
    path = tmp_path / 'model.pkl'
    path.write_bytes(b'\x80\x05' + pickle.BYTEARRAY8 + (10**13).to_bytes(8, 'little') + b'.')
    with pytest.raises(CheckpointError, match='fetch it again'):
        read_numpy_pickle(path)
