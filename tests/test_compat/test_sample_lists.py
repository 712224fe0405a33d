"""Lists of samples are those of mmpretrain and mmengine, read anew or remembered."""

from __future__ import annotations

import os
import pickle
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from g2sd_mm import folder_index
from g2sd_mm.errors import DataError
from g2sd_mm.image_files import files_below, folders_in, is_image

from ..helpers.toys import logged, words

_WAIT = 0.05  # seconds, longer than folders must be at rest here


@pytest.fixture(autouse=True)
def small_and_soon(tmp_path, monkeypatch):
    """Folders of any size are kept, and after 20 ms; clocks of file systems go in 10 ms at most."""
    monkeypatch.setattr(folder_index, 'SMALLEST', 1)
    monkeypatch.setattr(folder_index, 'SETTLED', 20_000_000)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


@pytest.fixture
def root(tmp_path):
    if folder_index._file_system(str(tmp_path)) not in folder_index._EXACT:
        pytest.skip('nothing is kept of folders on this file system')
    for name in ('b/2.jpg', 'b/10.PNG', 'b/deep/3.jpg', 'b/deep-er/4.jpg', 'a/1.jpg', 'a/notes.txt',
                 'a/.hidden.jpg', 'a/Thumbs.db', 'ä/é//x\n.jpg', 'b/\udcff.jpg'):  # fmt: skip
        add(tmp_path / 'images' / name)
    time.sleep(_WAIT)
    return tmp_path / 'images'


def add(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'')


def samples_of(root, **options):
    """Path and label of every sample, and what the log says of what it passes over."""
    import mmpretrain.datasets  # noqa: F401

    with logged() as lines:
        made = DATASETS.build(
            dict(_scope_='mmpretrain', type='CustomDataset', data_root=str(root), **options)
        )
    entries = [made.get_data_info(i) for i in range(len(made))]
    found = [(entry['img_path'], entry.get('gt_label')) for entry in entries]
    remembered = any('no folder has changed' in line for line in lines)
    return found, [line for line in lines if 'passed over' in line], remembered


def expected(root: Path, with_label: bool = True) -> list[tuple[str, int | None]]:
    """The same from another walk, which remembers nothing."""
    if not with_label:
        below = sorted(os.path.relpath(path, root) for path in files_below(root))
        return [(f'{root}/{name}', None) for name in below if is_image(name)]
    found: list[tuple[str, int | None]] = []
    for label, folder in enumerate(folders_in(root)):
        below = sorted(os.path.relpath(path, folder) for path in files_below(folder))
        found += [(f'{folder}/{name}', label) for name in below if is_image(name)]
    return found


@pytest.mark.parametrize('with_label', [True, False])
def test_what_is_remembered_is_what_was_read(root, with_label):
    first, said, remembered = samples_of(root, with_label=with_label)
    assert first == expected(root, with_label) and len(first) == 7
    assert not remembered and len(said) == 1 and '2 hidden' in said[0] and '1 .txt' in said[0]
    assert samples_of(root, with_label=with_label) == (first, said, True)
    # nothing of it is used for another question
    assert samples_of(root, with_label=with_label, extensions=('.png',))[0] == [
        sample for sample in first if sample[0].endswith('.PNG')
    ]
    assert not samples_of(root, with_label=not with_label)[2]


def test_lists_are_those_of_the_library(root):
    import mmpretrain.datasets.custom as custom

    stock, load = custom.get_samples.__wrapped__, custom.CustomDataset.load_data_list
    while hasattr(load, '__wrapped__'):
        load = load.__wrapped__
    for with_label in (True, False):
        made = custom.CustomDataset(data_root=str(root), with_label=with_label)
        kept = [made.get_data_info(i) for i in range(len(made))]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(custom, 'get_samples', stock)
            again = load(made)
        assert kept == [{**entry, 'sample_idx': i} for i, entry in enumerate(again)]
        made.data_list = again
        data, ends = BaseDataset._serialize_data.__wrapped__(made)
        assert np.array_equal(data, made.data_bytes) and np.array_equal(ends, made.data_address)
        assert made.data_bytes.dtype == data.dtype and made.data_address.dtype == ends.dtype


def test_an_empty_list_is_refused_as_ever():
    class Empty(BaseDataset):
        def load_data_list(self):
            return []

    with pytest.raises(ValueError, match='at least one'):
        Empty()


def test_a_class_that_reads_other_files_is_asked_itself(root):
    import mmpretrain.datasets.custom as custom

    class Notes(custom.CustomDataset):
        def is_valid_file(self, filename):
            return filename.endswith('.txt')

    assert len(Notes(data_root=str(root))) == len(Notes(data_root=str(root))) == 1


def test_an_emptied_folder_is_said_as_ever(root):
    samples_of(root)
    for path in [*root.rglob('*.jpg'), *root.rglob('*.PNG')]:
        path.unlink()
    with pytest.raises(DataError, match=words('no images', '1 .txt')):
        samples_of(root)


@pytest.mark.parametrize('seed', range(4))
def test_any_changes_give_the_list_of_another_walk(root, seed):
    """Whatever happens between two looks, at once or after a while: never an old list."""
    dice, hits = random.Random(seed), 0
    for step in range(25):
        with_label = dice.random() < 0.7
        for _ in range(2):
            found, _, remembered = samples_of(root, with_label=with_label)
            assert found == expected(root, with_label), step
            hits += remembered
        if dice.random() < 0.8:
            _change(root, dice, step)
        if dice.random() < 0.6:
            time.sleep(_WAIT)
    assert hits >= 3


def _change(root: Path, dice: random.Random, step: int) -> None:
    for link in filter(Path.is_symlink, sorted(root.rglob('*'))):
        link.unlink()  # nothing is kept beside one
    images = sorted(path for path in files_below(root) if is_image(path.name))
    folders = sorted(path for path in root.rglob('*') if path.is_dir() and not path.is_symlink())
    image, folder = dice.choice(images), dice.choice(folders)
    times = folder.stat()
    kind = dice.randrange(9)
    if kind == 0:
        add(folder / f'{step}.jpg')
    elif kind == 1 and len(images) > 3:
        image.unlink()
    elif kind == 2:
        image.rename(image.with_name(f'{step}.png'))
    elif kind == 3:
        image.touch()
    elif kind == 4:
        add(root / f'new{step}' / 'deep' / '1.jpg')
    elif kind == 5 and len(folders) > 5 and folder not in image.parents and len(images) > 5:
        shutil.rmtree(folder)
    elif kind == 6:
        folder.rename(folder.with_name(f'moved{step}'))
    elif kind == 7:
        (folder / f'link{step}').symlink_to(image if step % 2 else root.parent / 'nowhere')
    else:  # as tar and rsync do: the time of the folder is set back
        add(folder / f'{step}.jpg')
        os.utime(folder, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_links_to_folders_are_followed_and_seen_to_change(root, tmp_path):
    for name in ('one', 'two'):
        add(tmp_path / name / f'{name}.jpg')
    (tmp_path / 'between').symlink_to('one')
    (root / 'linked').symlink_to('../between')
    time.sleep(_WAIT)
    assert samples_of(root)[0] == samples_of(root)[0] == expected(root)
    assert samples_of(root)[2]
    (tmp_path / 'between').unlink()
    (tmp_path / 'between').symlink_to('two')  # no folder below the root has changed
    found, _, remembered = samples_of(root)
    assert found == expected(root) and not remembered
    assert any(path.endswith('linked/two.jpg') for path, _ in found)


@pytest.mark.parametrize('target', ['a/1.jpg', '..', 'nothing'])
def test_nothing_is_kept_with_links_to_files_and_links_without_end(root, target):
    (root / 'a' / 'link.jpg').symlink_to(root / target)
    time.sleep(_WAIT)
    samples_of(root)
    assert not samples_of(root)[2]
    assert samples_of(root)[0] == expected(root)


def test_workers_get_the_list_as_it_is(root):
    import mmpretrain.datasets.custom as custom

    made = custom.CustomDataset(data_root=str(root))
    copy = pickle.loads(pickle.dumps(made))
    assert copy.get_data_info(3) == made.get_data_info(3)
    made.get_subset_([4, 1])
    assert [made.get_data_info(i)['img_path'] for i in (0, 1)] == [
        copy.get_data_info(i)['img_path'] for i in (4, 1)
    ]
