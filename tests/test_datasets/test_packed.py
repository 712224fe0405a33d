"""A packed folder reads like the folder, in any data set and process."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine import fileio
from mmengine.registry import DATASETS
from torch.utils.data import DataLoader, Dataset

from g2sd_mm.compat.data_folders import noting_strays
from g2sd_mm.datasets import packed as packed_files
from g2sd_mm.datasets.packed import pack_folder, split_path
from g2sd_mm.errors import DataError, UserError

from ..helpers.odd_coco import CLASSES, write_set
from ..helpers.toys import image_folder, words

pytest.importorskip('lmdb')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Images in class folders, with neighbours that sort between folders and their files."""
    root = image_folder(tmp_path_factory.mktemp('images'), classes=2, each=3)
    for name in ('class_0.txt', 'class_00/deep/er/note.txt', 'a.json', 'empty.txt'):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('' if name == 'empty.txt' else f'this is {name}, ä', encoding='utf-8')
    (root / '.hidden').write_text('no')
    return root


@pytest.fixture(scope='module')
def packed(folder, tmp_path_factory):
    file = tmp_path_factory.mktemp('packed') / 'images.lmdb'
    assert pack_folder(folder, file) == 10
    return f'packed://{file}'


def test_every_file_is_there_byte_by_byte(folder, packed):
    for path in folder.rglob('[!.]*'):
        if path.is_file():
            assert fileio.get(f'{packed}/{path.relative_to(folder)}') == path.read_bytes()
    assert fileio.get_text(f'{packed}/a.json') == 'this is a.json, ä'
    with fileio.get_local_path(f'{packed}/a.json') as copy:
        assert copy.endswith('a.json')
        assert Path(copy).read_text(encoding='utf-8') == 'this is a.json, ä'


@pytest.mark.parametrize('inside', ['', '/class_0', '/class_00', '/class_00/deep/', '/nothing'])
@pytest.mark.parametrize('recursive', [False, True])
@pytest.mark.parametrize(
    'what',
    [dict(), dict(list_dir=False), dict(list_file=False), dict(list_dir=False, suffix='.png')],
    ids=str,
)
def test_listings_are_those_of_the_folder(folder, packed, inside, recursive, what):
    there = folder / inside.strip('/')
    expected = sorted(fileio.list_dir_or_file(str(there), recursive=recursive, **what)) if (
        there.is_dir()) else []
    found = list(fileio.list_dir_or_file(packed + inside, recursive=recursive, **what))
    assert sorted(found) == expected


@pytest.mark.parametrize(
    'inside', ['', '/', '/class_0', '/class_0/', '/class', '/class_0.txt', '/class_00/deep', '/x/y']
)
def test_files_and_folders_are_told_apart(folder, packed, inside):
    there = folder / inside.strip('/')
    for asked in ('isfile', 'isdir', 'exists'):
        expected = getattr(fileio, asked)(str(there))
        assert getattr(fileio, asked)(packed + inside) == expected, asked


def images_of(root: str):
    pipeline = [
        dict(type='LoadRandomResizedCrop', scale=24, flip_prob=0.5), dict(type='PackInputs')
    ]
    inner = dict(_scope_='mmpretrain', type='CustomDataset', data_root=root, pipeline=pipeline)
    return DATASETS.build(dict(type='SeededDataset', dataset=inner))


def test_training_reads_the_same_samples(tmp_path):
    folder = image_folder(tmp_path / 'images', classes=2, each=4)
    pack_folder(folder, tmp_path / 'sub' / 'images.lmdb')
    plain, dense = images_of(str(folder)), images_of(f'packed://{tmp_path}/sub/images.lmdb')
    assert len(dense) == len(plain) == 8
    assert dense.metainfo['classes'] == plain.metainfo['classes']
    here = [dense[i] for i in range(8)]  # opened before the workers are forked
    workers = list(DataLoader(dense, batch_size=None, num_workers=2))
    for i in range(8):
        for item in (here[i], workers[i]):
            assert torch.equal(item['inputs'], plain[i]['inputs'])
            assert item['data_samples'].gt_label == plain[i]['data_samples'].gt_label


class Environments(Dataset):
    """Tells how many files are open in the process that reads it, before and after a reading."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> list[int]:
        before = len(packed_files._opened)
        fileio.get(self.path)
        return [before, len(packed_files._opened)]


def test_a_worker_opens_files_of_its_own(packed):
    """LMDB must not be used on after a fork."""
    fileio.get(f'{packed}/a.json')
    assert packed_files._opened
    loader = DataLoader(Environments(f'{packed}/a.json'), batch_size=None, num_workers=1)
    assert list(loader) == [[0, 1]]
    assert fileio.get(f'{packed}/a.json')  # the parent's are still there


def test_coco_is_read_with_its_annotations(tmp_path):
    from g2sd_mm.datasets import coco  # noqa: F401

    folder = write_set(tmp_path / 'coco')
    pack_folder(folder, tmp_path / 'coco.lmdb')

    def build(root: str):
        return DATASETS.build(
            dict(
                type='CheckedCocoDataset',
                _scope_='mmdet',
                data_root=root,
                ann_file='train.json',
                data_prefix=dict(img=''),
                metainfo=dict(classes=CLASSES),
                pipeline=[
                    dict(type='LoadImageFromFile'),
                    dict(type='CheckListedSize'),
                    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
                    dict(type='PackDetInputs'),
                ],
            )
        )

    plain, dense = build(str(folder)), build(f'packed://{tmp_path}/coco.lmdb')
    assert len(dense) == len(plain) > 3
    for i in range(len(plain)):
        assert torch.equal(dense[i]['inputs'], plain[i]['inputs'])
        one, other = (d[i]['data_samples'].gt_instances for d in (dense, plain))
        assert torch.equal(one.labels, other.labels)


def test_what_is_not_there_is_named(packed, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'images\.lmdb has no file class_0/none\.jpg'):
        fileio.get(f'{packed}/class_0/none.jpg')
    with pytest.raises(FileNotFoundError, match=words('no file', 'x.lmdb', 'tools/pack_data.py')):
        fileio.get(f'packed://{tmp_path}/x.lmdb/class_0/none.jpg')
    with pytest.raises(ValueError, match=words('packed://data/x.jpg', 'no .lmdb file in it')):
        fileio.get('packed://data/x.jpg')


def test_paths_are_split_at_the_file():
    assert split_path('packed://a/b.lmdb/c/d.jpg') == ('a/b.lmdb', 'c/d.jpg')
    assert split_path('packed:///a.lmdb/') == ('/a.lmdb', '')
    assert split_path('packed://a.lmdb') == ('a.lmdb', '')
    assert split_path('packed://a.lmdb/b.lmdb/c') == ('a.lmdb', 'b.lmdb/c')


def test_strays_are_not_packed_and_not_read(tmp_path):
    folder = image_folder(tmp_path / 'images', classes=2, each=2)
    for name in ('Thumbs.db', '__MACOSX/class_0/a.png', '.ipynb_checkpoints/a.png'):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b'x')
    (folder / 'class_0' / 'endless').symlink_to('..')
    assert pack_folder(folder, tmp_path / 'images.lmdb') == 4
    import lmdb

    other = tmp_path / 'other.lmdb'  # as any tool may write it
    names = (b'Thumbs.db', b'__MACOSX/x.png', b'a/.x.png', b'a/x.PNG', b'b/x.png')
    environment = lmdb.open(str(other), subdir=False, map_size=1 << 20, lock=False)
    with environment, environment.begin(write=True) as transaction:
        for name in names:
            transaction.put(name, b'x')
    root = f'packed://{other}'
    with noting_strays() as strays:
        assert list(fileio.list_dir_or_file(root, list_file=False)) == ['a', 'b']
    assert {Path(name).name for name in strays} == {'Thumbs.db', '__MACOSX'}
    found = list(fileio.list_dir_or_file(root, list_dir=False, suffix='.png', recursive=True))
    assert found == ['a/x.PNG', 'b/x.png']


# Whole or not -------------------------------------------------------------------------------------


@pytest.fixture
def copy(packed, tmp_path) -> Path:
    """A file of 2.3 MB, so that there are blocks to choose from."""
    folder = tmp_path / 'large'
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(23):
        (folder / f'{i:02d}.bin').write_bytes(generator.bytes(100_000))
    file = tmp_path / 'copy.lmdb'
    pack_folder(folder, file)
    return file


def read_all(file: Path) -> int:
    root = f'packed://{file}'
    names = list(fileio.list_dir_or_file(root, list_dir=False, recursive=True))
    return sum(len(fileio.get(f'{root}/{name}')) for name in names)


@pytest.mark.parametrize('kept', [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_file_that_is_cut_off_is_named_and_kills_nobody(copy, kept):
    """Without the check the process that reads it dies by SIGBUS."""
    os.truncate(copy, int(copy.stat().st_size * kept))
    with pytest.raises(DataError, match=words(str(copy), 'tools/pack_data.py')):
        read_all(copy)


@pytest.mark.parametrize('where', [0.5, 0.9])
def test_a_damaged_file_is_found_by_its_checksum(copy, where):
    content = bytearray(copy.read_bytes())
    content[int(len(content) * where)] ^= 1
    copy.write_bytes(content)
    with pytest.raises(DataError, match=words(str(copy), '.bin', 'damaged')):
        read_all(copy)


def test_a_damaged_page_is_named(copy):
    content = bytearray(copy.read_bytes())
    content[2 * 4096 + 10 :: 4096] = b'\xff' * len(content[2 * 4096 + 10 :: 4096])  # their kind
    copy.write_bytes(content)
    with pytest.raises(DataError, match=words(str(copy), 'damaged')):
        read_all(copy)


def test_a_file_may_have_no_checksums(tmp_path):
    """As version 0.1 wrote it."""
    import lmdb

    old = tmp_path / 'old.lmdb'
    environment = lmdb.open(str(old), subdir=False, map_size=1 << 20, lock=False)
    with environment, environment.begin(write=True) as transaction:
        for name, content in ((b'0', b''), (b'a', b'x' * 9000)):
            transaction.put(name, content)
    assert read_all(old) == 9000
    assert fileio.get(f'packed://{old}/0') == b''


def test_another_file_is_no_packed_data(tmp_path):
    (tmp_path / 'x.lmdb').write_bytes(b'x' * 9000)
    with pytest.raises(DataError, match=words('x.lmdb', 'not packed data')):
        read_all(tmp_path / 'x.lmdb')


def test_what_cannot_be_packed_is_refused(folder, tmp_path):
    (tmp_path / 'there.lmdb').write_text('mine')
    (tmp_path / 'empty').mkdir()
    broken = tmp_path / 'broken'
    shutil.copytree(folder, broken)
    (broken / 'gone.jpg').symlink_to('/nowhere/gone.jpg')
    for source, name, message in (
        (folder, 'there.lmdb', 'already there'),
        (folder, 'x.zip', 'ends in .lmdb'),
        (tmp_path / 'none', 'x.lmdb', 'no folder'),
        (tmp_path / 'empty', 'x.lmdb', 'no files in'),
        (broken, 'x.lmdb', 'broken/gone.jpg'),
    ):
        with pytest.raises(UserError, match=message):
            pack_folder(source, tmp_path / name)
    assert (tmp_path / 'there.lmdb').read_text() == 'mine'
    long = tmp_path / 'long'
    deep = long.joinpath(*['d' * 200] * 3)
    deep.mkdir(parents=True)
    (deep / 'x.jpg').write_text('')
    with pytest.raises(UserError, match='more than 511 bytes'):
        pack_folder(long, tmp_path / 'x.lmdb')


def test_half_a_file_never_has_the_name(folder, tmp_path):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    file = tmp_path / 'x.lmdb'
    with pytest.raises(KeyboardInterrupt):
        pack_folder(folder, file, stop)
    assert not list(tmp_path.iterdir()), "half a file is in nobody's way"
    (tmp_path / '.x.lmdb.part').write_text('of one that was killed')
    assert pack_folder(folder, file) == 10
    assert [path.name for path in tmp_path.iterdir()] == ['x.lmdb']


def test_without_the_library_one_line_says_what_to_install(monkeypatch, tmp_path, folder):
    monkeypatch.setitem(sys.modules, 'lmdb', None)
    with pytest.raises(UserError, match=words('need lmdb', 'pip install "g2sd_mm[packed]"')):
        pack_folder(folder, tmp_path / 'x.lmdb')
    with pytest.raises(UserError, match='packed data need lmdb'):
        fileio.get(f'packed://{tmp_path}/other.lmdb/x.jpg')
