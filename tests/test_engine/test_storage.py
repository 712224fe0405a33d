"""mmengine's files, whole or not there."""

from __future__ import annotations

import os

import pytest
from mmengine.fileio import get_file_backend

from g2sd_mm.engine.hooks.saving import WholeFileBackend


@pytest.fixture
def backend():
    made = get_file_backend(backend_args=dict(backend='whole_file'))
    assert isinstance(made, WholeFileBackend)
    return made


def test_bytes_are_written_into_a_new_folder(backend, tmp_path):
    backend.put(b'bytes', str(tmp_path / 'a' / 'b.pth'))
    assert (tmp_path / 'a' / 'b.pth').read_bytes() == b'bytes'


def test_a_failed_write_leaves_the_old_file(backend, tmp_path, monkeypatch):
    path = str(tmp_path / 'a.pth')
    backend.put(b'old', path)

    def fail(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'replace', fail)
    with pytest.raises(OSError, match='No space left'):
        backend.put(b'new', path)
    assert os.listdir(tmp_path) == ['a.pth']
    assert backend.get(path) == b'old'


def test_removals_wait_for_what_replaces_them(backend, tmp_path):
    old, new = str(tmp_path / 'old.pth'), str(tmp_path / 'new.pth')
    backend.put(b'old', old)
    with backend.removing_last():
        backend.remove(old)
        assert os.path.exists(old)
        backend.put(b'new', new)
    assert os.listdir(tmp_path) == ['new.pth']
    backend.remove(new)
    assert os.listdir(tmp_path) == []


def test_what_could_not_be_replaced_is_not_removed(backend, tmp_path):
    old = str(tmp_path / 'old.pth')
    backend.put(b'old', old)
    with pytest.raises(OSError, match='full'), backend.removing_last():
        backend.remove(old)
        raise OSError('full')
    assert backend.get(old) == b'old'


def test_a_file_that_was_written_anew_is_not_removed(backend, tmp_path):
    path = str(tmp_path / 'best.pth')
    backend.put(b'old', path)
    with backend.removing_last():
        backend.remove(path)
        backend.put(b'new', path)
    assert backend.get(path) == b'new'
