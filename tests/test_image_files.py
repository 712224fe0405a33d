"""Which names are data, whoever asks."""

from __future__ import annotations

import os
import struct

import pytest

from g2sd_mm.image_files import (
    endings_of,
    files_below,
    folders_in,
    is_image,
    is_stray,
    misread,
    spread,
)


@pytest.mark.parametrize(
    'name',
    ['.DS_Store', '._x.jpg', '.ipynb_checkpoints', 'Thumbs.db', 'THUMBS.DB', '__MACOSX', '@eaDir',
     'desktop.ini', '~$x.jpg', '.hidden.png', 'lost+found', 'work_dirs'],
)  # fmt: skip
def test_what_systems_and_editors_leave_behind_is_no_data(name):
    assert is_stray(name)


@pytest.mark.parametrize('name', ['cat', 'x.jpg', 'a.b', '_x.png', 'thumbs', 'x~1.png', 'mac.osx'])
def test_other_names_are(name):
    assert not is_stray(name)


def test_endings_count_whatever_their_case():
    names = ['a.JPG', 'a.jfif', 'a.WebP', 'a.tiff', 'a.TIF', 'a.gif', 'a.avif', 'a.PNG', 'a.bmp']
    assert all(map(is_image, names))
    assert not any(map(is_image, ['a.heic', 'a.txt', 'jpg', 'a.jpg.part', 'a.png~']))
    assert is_image('A_left.PNG', ('_left.png',)) and not is_image('A.PNG', ('_left.png',))
    assert endings_of(['a.png', 'b.png', 'c', 'd.txt']) == '2 .png, 1 without an ending, 1 .txt'


@pytest.mark.parametrize('number', [1, 23, 24, 47, 1000])
def test_the_first_of_spread_items_lie_over_the_whole_list(number):
    items = spread(range(number), 24)
    assert sorted(items) == list(range(number))
    first = sorted(items[:24])
    gaps = [b - a for a, b in zip(first, [*first[1:], number], strict=True)]
    assert max(gaps) <= max(1, 3 * number // 24)


def test_a_folder_that_must_not_be_read_is_not_left_out_in_silence(tmp_path, monkeypatch):
    def scan(path):
        if str(path).endswith('locked'):
            raise PermissionError(13, 'Permission denied', path)
        return real(path)

    (tmp_path / 'locked').mkdir()
    real = os.scandir
    monkeypatch.setattr(os, 'scandir', scan)
    with pytest.raises(PermissionError, match='locked'):
        list(files_below(tmp_path))
    assert list(files_below(tmp_path / 'nowhere')) == []


def test_strays_are_passed_over_with_all_below_them_and_told(tmp_path):
    for name in ('a/1.png', '.git/2.png', '__MACOSX/a/3.png', 'a/.ipynb_checkpoints/1.png',
                 'a/Thumbs.db', '.DS_Store'):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('')
    (tmp_path / 'b').symlink_to('a')
    (tmp_path / 'a' / 'loop').symlink_to('..')
    (tmp_path / 'a' / 'gone.png').symlink_to('nowhere.png')
    passed_over: list = []
    found = [path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path, passed_over)]
    assert found == ['a/1.png', 'b/1.png']
    told = {path.relative_to(tmp_path).as_posix() for path in passed_over}
    assert told >= {'.git', '__MACOSX', '.DS_Store', 'a/.ipynb_checkpoints', 'a/Thumbs.db',
                    'a/loop', 'a/gone.png'}  # fmt: skip
    assert [path.name for path in folders_in(tmp_path)] == ['a', 'b']


@pytest.mark.parametrize('head', [b'II*\0', b'MM\0*'])
def test_floats_of_a_tiff_file_are_no_bytes(head):
    order = '<' if head.startswith(b'I') else '>'
    content = head + bytes(40) + struct.pack(f'{order}HHIH', 259, 3, 1, 34676) + bytes(40)
    assert 'floats' in misread(content)
    assert not misread(content, in_bytes=False)
    assert not misread(content.replace(head, b'XXXX')) and not misread(head + bytes(80))
