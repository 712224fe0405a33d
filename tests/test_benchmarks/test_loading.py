"""Loading takes little more memory than the file has."""

from __future__ import annotations

import pickle

import pytest
import torch

from benchmarks.speed.loading import measure_loading

#: What loading may take above the process's baseline, over the size of the file.
LIMIT = 1.3
SIZE = 64 * 2**20  # bytes; large against what allocators round up to


def state() -> dict[str, torch.Tensor]:
    return {f'w{i}': torch.randn(SIZE // 4 // 8) for i in range(8)}


def write_torch(path):
    torch.save({'model': state()}, path)


def write_legacy(path):
    torch.save({'model': state()}, path, _use_new_zipfile_serialization=False)


def write_training(path):
    moments = {i: {'exp_avg': t, 'exp_avg_sq': t + 1} for i, t in enumerate(state().values())}
    torch.save({'model': state(), 'optimizer': {'state': moments}}, path)


def write_safetensors(path):
    from safetensors.torch import save_file

    save_file(state(), path)


def write_pickle(path, protocol=4):
    arrays = {name: tensor.numpy() for name, tensor in state().items()}
    path.write_bytes(pickle.dumps({'model': arrays}, protocol))


def write_old_pickle(path):
    write_pickle(path, protocol=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'write'),
    [
        ('new.pth', write_torch),
        ('legacy.pth', write_legacy),
        ('training.pth', write_training),
        ('x.safetensors', write_safetensors),
        ('new.pkl', write_pickle),
        ('old.pkl', write_old_pickle),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_every_format_stays_below_the_limit(name, write, tmp_path):
    write(tmp_path / name)
    measured = measure_loading(tmp_path / name)
    assert measured['file'] == (tmp_path / name).stat().st_size
    assert 0.1 < measured['ratio'] < LIMIT, measured


def test_what_fails_is_said_in_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match='no such checkpoint file'):
        measure_loading(tmp_path / 'none.pth')
    (tmp_path / 'page.pth').write_text('<html>')
    with pytest.raises(RuntimeError, match='this is a web page') as caught:
        measure_loading(tmp_path / 'page.pth')
    assert '\n' not in str(caught.value)
