"""Files are whole or not there, and what can be made again has a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from g2sd_mm.checkpoints.write import write_weights
from g2sd_mm.whole_files import (
    remove_leftovers,
    tried_first,
    user_cache,
    whole_or_not,
    write_page,
    write_text,
)


def test_the_cache_is_where_the_user_says(monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', '/somewhere')
    assert user_cache() == Path('/somewhere/g2sd_mm')
    monkeypatch.setenv('XDG_CACHE_HOME', '')
    monkeypatch.setenv('HOME', '/home/somebody')
    assert user_cache() == Path('/home/somebody/.cache/g2sd_mm')


def test_text_is_written_in_the_same_way(tmp_path, monkeypatch):
    path = tmp_path / 'results.json'
    write_text(path, 'one')
    assert path.read_text() == 'one'

    def fail(*args):
        raise OSError('no')

    monkeypatch.setattr(os, 'replace', fail)
    with pytest.raises(OSError, match='no'):
        write_text(path, 'two')
    assert path.read_text() == 'one'
    assert os.listdir(tmp_path) == ['results.json']


def test_a_page_is_utf8_whatever_the_names_on_it(tmp_path, monkeypatch):
    monkeypatch.setattr('locale.getpreferredencoding', lambda *_: 'latin-1')
    write_page(tmp_path / 'page.html', '<p>π ' + os.fsdecode(b'a\xe9.png'))
    assert (tmp_path / 'page.html').read_text(encoding='utf-8') == '<p>π a\\udce9.png'


def test_content_and_name_are_on_the_disk_in_this_order(tmp_path, monkeypatch):
    order = []

    def synced(number):
        order.append(os.readlink(f'/proc/self/fd/{number}'))

    def replace(source, target):
        order.append('renamed')
        real(source, target)

    real = os.replace
    monkeypatch.setattr(os, 'fsync', synced)
    monkeypatch.setattr(os, 'replace', replace)
    write_text(tmp_path / 'a.json', 'text')
    assert order[0].endswith('.tmp')
    assert order[1:] == ['renamed', str(tmp_path)]


def test_a_folder_that_cannot_be_waited_for_is_no_error(tmp_path, monkeypatch):
    def fsync(number):
        if os.path.isdir(os.readlink(f'/proc/self/fd/{number}')):
            raise OSError(22, 'Invalid argument')

    monkeypatch.setattr(os, 'fsync', fsync)
    write_text(tmp_path / 'a.json', 'text')
    assert (tmp_path / 'a.json').read_text() == 'text'


def test_leftovers_of_killed_processes_are_removed(tmp_path):
    for name in ('.epoch_1.pth.123.tmp', 'epoch_1.pth', '.hidden', 'notes.tmp'):
        (tmp_path / name).write_text('x')
    assert remove_leftovers(tmp_path) == [tmp_path / '.epoch_1.pth.123.tmp']
    assert sorted(os.listdir(tmp_path)) == ['.hidden', 'epoch_1.pth', 'notes.tmp']


def test_others_may_read_what_they_may_read_of_any_file(tmp_path):
    (tmp_path / 'usual').touch()
    with whole_or_not(tmp_path / 'file') as temporary:
        os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
    modes = {(tmp_path / name).stat().st_mode for name in ('usual', 'file')}
    assert len(modes) == 1 and {path.name for path in tmp_path.iterdir()} == {'usual', 'file'}


def test_weights_in_safetensors_can_be_read_by_others(tmp_path):
    (tmp_path / 'usual').touch()
    write_weights(tmp_path / 'weights.safetensors', {'a': torch.zeros(2)}, {})
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_what_is_tried_first_comes_with_its_parts_or_not_at_all(tmp_path):
    path = tmp_path / 'x.onnx'
    path.write_text('old')
    with pytest.raises(KeyboardInterrupt), tried_first(path) as new:
        new.write_text('new')
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ['x.onnx'] and path.read_text() == 'old'
    with tried_first(path) as new:
        new.write_text('new')
        new.with_name('x.onnx.data').write_text('part')
        assert path.read_text() == 'old' and new.name == path.name
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        'x.onnx': 'new', 'x.onnx.data': 'part',
    }  # fmt: skip
