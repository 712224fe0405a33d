"""Files are whole or not there."""

from __future__ import annotations

import os

import pytest
import torch

from g2sd_mm.checkpoints import read_weights
from g2sd_mm.checkpoints.write import remove_leftovers, write_text, write_weights


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
