"""A kept list is given back if it is certain to be right, and never otherwise."""

from __future__ import annotations

import json
import os
import threading
import time

import pytest

from g2sd_mm import folder_index
from g2sd_mm.folder_index import Listing, Walk, find, keep

ENDINGS = ('.jpg',)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Two folders of classes, at rest."""
    if folder_index._file_system(str(tmp_path)) not in folder_index._EXACT:
        pytest.skip('nothing is kept of folders on this file system')
    monkeypatch.setattr(folder_index, 'SMALLEST', 1)
    monkeypatch.setattr(folder_index, 'SETTLED', 20_000_000)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    for name in ('a', 'b'):
        (tmp_path / 'images' / name).mkdir(parents=True)
        (tmp_path / 'images' / name / '1.jpg').write_bytes(b'')
    time.sleep(0.05)
    return str(tmp_path / 'images')


def walked(root):
    walk = Walk(root)
    for name in ('a', 'b'):
        walk.enter(os.path.join(root, name))
    return walk


def listing():
    return Listing({'a': ['1.jpg'], 'b': ['1.jpg']}, ['a/x.txt'], ['a/.x'])


def found(root, endings=ENDINGS):
    return find(root, ['a', 'b'], endings)


def test_it_is_given_back(root):
    file = keep(listing(), walked(root), ENDINGS)
    assert found(root) == (listing(), file)
    assert found(root, ('.JPG',)) and not found(root, ('.png',))
    assert find(root, ['a'], ENDINGS) is None and find(root, [''], ENDINGS) is None
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_another_name_of_the_same_folder_is_the_same_folder(root, tmp_path):
    keep(listing(), walked(root), ENDINGS)
    (tmp_path / 'link').symlink_to(root)
    assert found(str(tmp_path / 'link'))
    assert not found(str(tmp_path))


def test_small_folders_are_not_kept(root, monkeypatch):
    monkeypatch.setattr(folder_index, 'SMALLEST', 3)
    assert keep(listing(), walked(root), ENDINGS) is None


def test_a_folder_that_changed_just_before_is_not_kept(root, tmp_path):
    os.mkdir(os.path.join(root, 'a', 'new'))
    assert keep(listing(), walked(root), ENDINGS) is None
    assert not (tmp_path / 'cache').exists()
    time.sleep(0.05)
    assert keep(listing(), walked(root), ENDINGS)


def test_a_time_in_the_future_is_not_relied_on(root):
    ahead = time.time_ns() + 10**12
    os.utime(os.path.join(root, 'a'), ns=(ahead, ahead))
    time.sleep(0.05)
    assert keep(listing(), walked(root), ENDINGS) is None


def test_a_folder_that_changes_while_it_is_read_is_not_kept(root):
    walk = walked(root)
    os.remove(os.path.join(root, 'b', '1.jpg'))
    assert keep(listing(), walk, ENDINGS) is None


def test_any_change_of_a_folder_counts(root):
    keep(listing(), walked(root), ENDINGS)
    folder = os.path.join(root, 'b')
    facts = os.stat(folder)
    os.rename(os.path.join(folder, '1.jpg'), os.path.join(folder, '2.jpg'))
    os.utime(folder, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # as if nothing had been
    assert os.stat(folder).st_mtime_ns == facts.st_mtime_ns
    assert found(root) is None


def test_a_folder_that_is_gone_or_another_one_counts(root):
    keep(listing(), walked(root), ENDINGS)
    os.rename(os.path.join(root, 'b'), os.path.join(root, 'c'))
    assert found(root) is None
    os.mkdir(os.path.join(root, 'b'))
    assert found(root) is None


@pytest.mark.parametrize('kind', ['fuse.s3fs', '9p', None])
def test_file_systems_without_such_times_are_read_each_time(root, monkeypatch, kind):
    keep(listing(), walked(root), ENDINGS)
    assert found(root)
    monkeypatch.setattr(folder_index, '_file_system', lambda folder: kind)
    assert found(root) is None
    assert keep(listing(), walked(root), ENDINGS) is None


def test_the_innermost_mount_decides(monkeypatch, tmp_path):
    mounts = tmp_path / 'mounts'
    mounts.write_text(
        '1 0 8:1 / / rw - ext4 /dev/sda rw\n'
        f'2 1 0:5 / {tmp_path}/my\\040data rw shared:1 - fuse.s3fs s3 rw\n'
        f'3 1 0:6 / {tmp_path}/my rw - tmpfs none rw\n'
    )
    monkeypatch.setattr(folder_index, '_MOUNTS', str(mounts))
    kinds = {name: folder_index._file_system(str(tmp_path / name))
             for name in ('my data', 'my data/a', 'my', 'mine')}  # fmt: skip
    assert kinds == {'my data': 'fuse.s3fs', 'my data/a': 'fuse.s3fs', 'my': 'tmpfs',
                     'mine': 'ext4'}  # fmt: skip
    monkeypatch.setattr(folder_index, '_MOUNTS', str(tmp_path / 'none'))
    assert folder_index._states([str(tmp_path)], set()) is None


def test_other_rules_make_other_files(root, monkeypatch, tmp_path):
    keep(listing(), walked(root), ENDINGS)
    (tmp_path / 'rules.py').write_text('# what is hidden')
    monkeypatch.setattr(folder_index.image_files, '__file__', str(tmp_path / 'rules.py'))
    assert found(root) is None
    monkeypatch.undo()


def test_damage_is_seen(root):
    file = keep(listing(), walked(root), ENDINGS)
    whole = file.read_bytes()
    assert found(root)
    for number in range(0, len(whole), 7):
        file.write_bytes(whole[:number])
        assert found(root) is None, number
        file.write_bytes(whole[:number] + bytes([whole[number] ^ 4]) + whole[number + 1 :])
        assert found(root) is None, number
    file.unlink()
    file.mkdir()
    assert found(root) is None
    assert keep(listing(), walked(root), ENDINGS) is None
    file.rmdir()
    os.mkfifo(file)  # would wait for ever
    assert found(root) is None
    assert keep(listing(), walked(root), ENDINGS) and found(root)


@pytest.mark.parametrize(
    'change',
    [
        {'names': ['../../etc/passwd', '1.jpg']},
        {'names': ['1.jpg//..//2.jpg', '1.jpg']},
        {'names': ['/etc/passwd', '1.jpg']},
        {'names': ['1.jpg/', '1.jpg']},
        {'names': ['1.jpg////2.jpg', '1.jpg']},
        {'names': ['a/../../1.jpg', '1.jpg']},
        {'names': ['1\0.jpg', '1.jpg']},
        {'names': ['1.jpg']},
        {'names': ['1.jpg', ['1.jpg']]},
        {'names': 7},
        {'classes': ['a', 'c']},
        {'classes': None},
        {'folders': []},
        {'folders': [['a', 1, 2], ['b', 1, 2, 3]]},
        {'folders': [['a', 1, 2, 'x'], ['b', 1, 2, 3]]},
        {'folders': {'a': 1}},
        {'read': None},
        {'read': 0},
        {'others': None},
        {'strays': ['x']},
        {'about': {}},
        None,
        [],
        'text',
    ],
    ids=str,
)
def test_content_that_was_not_written_here_is_not_used(root, change):
    file = keep(listing(), walked(root), ENDINGS)
    content = json.loads(file.read_bytes().partition(b'\n')[2])
    forge(file, {**content, **change} if isinstance(change, dict) else change)
    assert found(root) is None
    forge(file, content)
    assert found(root)


def forge(file, content):
    text = json.dumps(content).encode()
    file.write_bytes(folder_index._digest(text) + b'\n' + text)


@pytest.mark.parametrize('text', [b'[' * 100_000, b'1' * 10_000, b'\xff', b'', b'{"about": NaN}'])
def test_text_that_is_no_such_content_is_not_used(root, text):
    file = keep(listing(), walked(root), ENDINGS)
    file.write_bytes(folder_index._digest(text) + b'\n' + text)
    assert found(root) is None


def test_huge_files_are_not_looked_into(root, monkeypatch):
    keep(listing(), walked(root), ENDINGS)
    monkeypatch.setattr(folder_index, '_LARGEST', 10)
    assert found(root) is None


def test_without_a_place_to_write_nothing_is_kept(root, tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    assert keep(listing(), walked(root), ENDINGS) is None
    assert found(root) is None


def test_many_may_write_at_once(root):
    """A reader sees a whole file or none; all of them wrote the same."""
    stop, seen = threading.Event(), []

    def read():
        while not stop.is_set():
            seen.append(found(root))

    reader = threading.Thread(target=read)
    file = keep(listing(), walked(root), ENDINGS)
    reader.start()
    for _ in range(20):
        assert keep(listing(), walked(root), ENDINGS) == file
    stop.set()
    reader.join()
    assert seen and all(one == (listing(), file) for one in seen)
