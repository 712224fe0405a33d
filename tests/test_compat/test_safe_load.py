"""Reading checkpoints: what is accepted, what is refused, and what the refusals say."""

import argparse
import pickle
import warnings
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from mmengine.runner import checkpoint as mmengine_checkpoint

from g2sd_mm.compat.safe_load import (
    CheckpointError,
    UnsafeCheckpointError,
    is_bare_pickle,
    load_checkpoint,
)

from ..helpers.toys import Calls, writes_a_file


@pytest.fixture
def saved(tmp_path):
    """Save an object the way torch does and return the file."""

    def save(content, name='file.pth', **options):
        path = tmp_path / name
        torch.save(content, path, **options)
        return path

    return save


def message_of(path, kind=CheckpointError):
    with pytest.raises(kind) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f'{path}: ')
    assert '\n' not in message
    return message


# What is accepted ---------------------------------------------------------------------------------


@pytest.mark.parametrize('legacy', [False, True])
def test_official_layout_is_read(saved, legacy):
    content = {
        'model': OrderedDict(weight=torch.arange(6.0).view(2, 3)),
        'args': argparse.Namespace(lr=1e-3, betas=(0.9, 0.95), name=None),
        'epoch': 299,
    }
    path = saved(content, _use_new_zipfile_serialization=not legacy)
    for mmap in (False, True):
        read = load_checkpoint(path, mmap=mmap)
        assert torch.equal(read['model']['weight'], content['model']['weight'])
        assert (read['args'], read['epoch']) == (content['args'], 299)


def test_numpy_content_is_read(saved):
    content = {
        'best': np.float64(0.5),
        'flag': np.bool_(True),
        'state': np.arange(4, dtype=np.uint32),
        'half': np.ones((2, 2), dtype=np.float16),
    }
    read = load_checkpoint(saved(content))
    assert read['best'] == 0.5 and read['flag']
    assert np.array_equal(read['state'], content['state'])
    assert read['half'].dtype == np.float16


@pytest.mark.parametrize('home', [b'numpy.core', b'numpy._core'])
def test_numpy_content_of_either_generation_is_read(saved, home):
    path = saved({'best': np.float64(0.5)}, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    for name in (b'numpy.core', b'numpy._core'):
        data = data.replace(name + b'.multiarray\n', home + b'.multiarray\n')
    path.write_bytes(data)
    assert home + b'.multiarray\n' in data
    assert load_checkpoint(path) == {'best': 0.5}


def test_mmengine_settings_are_read(saved):
    from mmengine.config import ConfigDict

    settings = ConfigDict(type='AdamW', paramwise=dict(decay=[0.1, 0.2]))
    read = load_checkpoint(saved({'settings': settings}))['settings']
    assert type(read) is ConfigDict and read.paramwise.decay == [0.1, 0.2]


def test_safetensors_are_read(tmp_path):
    save_file = pytest.importorskip('safetensors.torch').save_file
    path = tmp_path / 'file.safetensors'
    save_file({'weight': torch.ones(2)}, str(path))
    for location in ('cpu', None, torch.device('cpu')):
        assert torch.equal(load_checkpoint(path, location)['weight'], torch.ones(2))


def test_home_folder_is_expanded(saved, monkeypatch):
    path = saved({'a': 1})
    monkeypatch.setenv('HOME', str(path.parent))
    assert load_checkpoint('~/file.pth') == {'a': 1}


# What is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize('legacy', [False, True])
def test_malicious_pickle_is_refused_and_does_nothing(saved, tmp_path, legacy):
    victim = tmp_path / 'victim.txt'
    path = saved({'model': writes_a_file(victim)}, _use_new_zipfile_serialization=not legacy)
    message = message_of(path, UnsafeCheckpointError)
    assert 'refused, it asks for' in message and 'save only its state_dict' in message
    assert not victim.exists()

    # The same file does harm when read without limits, so the test can fail.
    torch.load(path, weights_only=False)
    assert victim.exists()


@pytest.mark.parametrize('protocol', [2, 4])
def test_bare_pickle_is_refused_and_does_nothing(tmp_path, protocol):
    path, victim = tmp_path / 'bare.pth', tmp_path / 'victim.txt'
    path.write_bytes(pickle.dumps(writes_a_file(victim), protocol=protocol))
    assert 'this is a bare pickle' in message_of(path, UnsafeCheckpointError)
    assert not victim.exists()


@pytest.mark.parametrize(
    ('call', 'name'),
    [
        (Calls(eval, '1 + 1'), 'eval'),
        (Calls(getattr, argparse.Namespace, '__init__'), 'getattr'),
        (Calls(getattr, torch.Tensor, 'tofile'), 'getattr'),
        (defaultdict(list), 'defaultdict'),
        (Calls(np.load, 'x.npy'), 'load'),
    ],
)
def test_refusal_names_what_the_file_asks_for(saved, call, name):
    message = message_of(saved({'model': call}), UnsafeCheckpointError)
    assert f'{name}, which is not on the list' in message


def test_getattr_of_history_buffer_is_limited_to_its_statistics(saved):
    from mmengine.logging import HistoryBuffer

    for name in ('__init__', '_statistics_methods', 'register_statistics'):
        call = Calls(getattr, HistoryBuffer, name)
        assert 'getattr' in message_of(saved({'x': call}), UnsafeCheckpointError)


def test_object_arrays_are_refused(saved):
    path = saved({'x': np.array([None, {}], dtype=object)})
    assert 'holds more than weights and plain values' in message_of(path, UnsafeCheckpointError)


def test_what_others_allow_does_not_count_and_is_given_back(saved):
    allowed = [argparse.Namespace, sorted]
    path = saved({'x': Calls(sorted, [2, 1])})
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals(allowed)
    try:
        assert torch.load(path, weights_only=True) == {'x': [1, 2]}
        assert 'sorted, which is not on the list' in message_of(path, UnsafeCheckpointError)
        assert set(torch.serialization.get_safe_globals()) == {*before, *allowed}
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def test_torchscript_is_refused_as_code(tmp_path):
    path = tmp_path / 'program.pt'
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    assert 'TorchScript program' in message_of(path, UnsafeCheckpointError)


# Files that are no checkpoints --------------------------------------------------------------------


def test_missing_file_is_named(tmp_path):
    for path in (tmp_path / 'nothing.pth', tmp_path):
        with pytest.raises(FileNotFoundError, match=f'^{path}: no such checkpoint file$'):
            load_checkpoint(path)


def test_an_address_in_a_files_place_is_told():
    with pytest.raises(FileNotFoundError, match=r'models/x\.pth: .* address'):
        load_checkpoint('https://example.org/models/x.pth')


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'', 'the file is empty'),
        (b'\n<!DOCTYPE html><html>404</html>', 'a web page, not a checkpoint'),
        (b'<HTML><body>sign in</body></HTML>', 'a web page, not a checkpoint'),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:0', 'a Git LFS pointer'),
    ],
)
def test_usual_wrong_files_are_named_for_what_they_are(tmp_path, suffix, content, words):
    path = tmp_path / f'file{suffix}'
    path.write_bytes(content)
    assert words in message_of(path)


def test_any_other_file_is_no_checkpoint(tmp_path):
    path = tmp_path / 'file.pth'
    path.write_bytes(b'\xff\xd8\xff\xe0 a picture')
    assert 'this is not a checkpoint' in message_of(path)


def test_other_zip_archive_is_no_checkpoint(tmp_path):
    path = tmp_path / 'file.pth'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('readme.txt', 'hello')
    assert 'a zip archive, but not one written by torch.save' in message_of(path)


@pytest.mark.parametrize('legacy', [False, True])
def test_truncated_file_is_reported_wherever_it_ends(saved, legacy):
    content = {'model': {f'layer.{i}': torch.randn(5, 5) for i in range(5)}}
    path = saved(content, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    for size in (1, 10, 20, len(whole) // 3, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert any(word in message_of(path) for word in ('truncated', 'not a checkpoint')), size


def test_damaged_archive_is_reported(saved):
    path = saved({'weight': torch.zeros(100)})
    data = path.read_bytes()
    start = data.index(b'data.pkl') + 40
    path.write_bytes(data[:start] + bytes(60) + data[start + 60 :])
    assert 'damaged' in message_of(path) or 'refused' in message_of(path)


@pytest.mark.parametrize('name', ['file.pth', 'file'])
def test_safetensors_of_another_name_are_read(tmp_path, name):
    save_file = pytest.importorskip('safetensors.torch').save_file
    save_file({f'layer.{i}': torch.ones(3) for i in range(90)}, path := tmp_path / name)
    assert not is_bare_pickle(path)
    assert torch.equal(load_checkpoint(path)['layer.2'], torch.ones(3))


def test_a_file_of_torch_with_the_name_of_safetensors_is_told(tmp_path):
    torch.save({'layer.weight': torch.ones(3)}, path := tmp_path / 'file.safetensors')
    assert 'name it .pth' in message_of(path)


def test_damaged_safetensors_are_reported(tmp_path):
    path = tmp_path / 'file.safetensors'
    path.write_bytes(b'\x10\0\0\0\0\0\0\0{"a": 1')
    assert 'damaged or truncated safetensors file' in message_of(path)


# mmengine -----------------------------------------------------------------------------------------


def test_mmengine_refuses_what_it_would_have_unpickled(saved, tmp_path):
    victim = tmp_path / 'victim.txt'
    path = saved({'state_dict': writes_a_file(victim)})
    with pytest.raises(UnsafeCheckpointError, match='refused'):
        mmengine_checkpoint.load_checkpoint(torch.nn.Linear(2, 2), str(path))
    assert not victim.exists()


def test_mmengine_reads_streams_with_our_reader(saved):
    with saved({'a': torch.ones(1)}).open('rb') as stream:
        assert mmengine_checkpoint._safe_torch_load(stream, 'cpu') == {'a': torch.ones(1)}
    with (
        saved({'a': Calls(eval, '1')}).open('rb') as stream,
        pytest.raises(UnsafeCheckpointError, match=r'^checkpoint stream: refused'),
    ):
        mmengine_checkpoint._safe_torch_load(stream, 'cpu')


def test_mmengine_reads_addresses_with_our_reader(saved, tmp_path, monkeypatch):
    victim = tmp_path / 'victim.txt'
    source = saved({'state_dict': writes_a_file(victim)})

    def copy(url, target, progress):
        assert url == 'https://example.org/models/evil.pth?download=1'
        Path(target).write_bytes(source.read_bytes())

    monkeypatch.setattr(torch.hub, 'download_url_to_file', copy)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    with pytest.raises(UnsafeCheckpointError, match=r'checkpoints/evil\.pth: refused'):
        mmengine_checkpoint.CheckpointLoader.load_checkpoint(
            'https://example.org/models/evil.pth?download=1', 'cpu'
        )
    assert not victim.exists()


def test_an_address_that_cannot_be_reached_leads_to_where_its_file_goes(tmp_path, monkeypatch):
    def fail(url, target, progress):
        raise URLError('no network')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', fail)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    url = 'https://example.org/models/resnet.pth'
    with pytest.raises(CheckpointError, match=f'^{url}.*{tmp_path}/checkpoints/resnet.pth'):
        mmengine_checkpoint.CheckpointLoader.load_checkpoint(url, 'cpu')


def make_runner(folder, name, max_epochs, **options):
    from mmengine.model import BaseModel
    from mmengine.runner import Runner

    class Toy(BaseModel):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def forward(self, x, mode='tensor'):
            return {'loss': self.layer(x).square().mean()}

    return Runner(
        model=Toy(),
        work_dir=str(folder),
        experiment_name=name,
        train_dataloader=dict(
            dataset=[torch.ones(2), torch.zeros(2)],
            sampler=dict(type='DefaultSampler', shuffle=False),
            batch_size=1,
        ),
        train_cfg=dict(by_epoch=True, max_epochs=max_epochs),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1)),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, end=2, by_epoch=False),
            dict(type='CosineAnnealingLR', T_max=4, by_epoch=True),
        ],
        custom_hooks=[dict(type='EMAHook')],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        log_level='ERROR',
        **options,
    )


def test_a_run_of_mmengine_is_resumed_through_our_reader(tmp_path):
    from mmengine.logging import HistoryBuffer

    make_runner(tmp_path, 'first', max_epochs=2).train()
    path = tmp_path / 'epoch_2.pth'
    read = load_checkpoint(path)
    history = read['message_hub']['log_scalars']['train/loss']
    assert type(history) is HistoryBuffer and len(history.data[0]) == 4
    assert read['optimizer']['state'] and len(read['param_schedulers']) == 2

    resumed = make_runner(tmp_path, 'second', max_epochs=3, load_from=str(path), resume=True)
    resumed.train()
    assert resumed.epoch == 3 and resumed.iter == 6
    assert len(resumed.message_hub.get_scalar('train/loss').data[0]) == 6
    assert (tmp_path / 'epoch_3.pth').is_file()
