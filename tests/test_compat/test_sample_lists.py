"""Lists of samples are those of mmpretrain and mmengine."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from g2sd_mm.errors import DataError
from g2sd_mm.image_files import files_below, folders_in, is_image

from ..helpers.toys import logged, words


@pytest.fixture
def root(tmp_path):
    for name in ('b/2.jpg', 'b/10.PNG', 'b/deep/3.jpg', 'b/deep-er/4.jpg', 'a/1.jpg', 'a/notes.txt',
                 'a/.hidden.jpg', 'a/Thumbs.db', 'ä/é//x\n.jpg', 'b/\udcff.jpg'):  # fmt: skip
        add(tmp_path / 'images' / name)
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
    return found, [line for line in lines if 'passed over' in line]


def expected(root: Path, with_label: bool = True) -> list[tuple[str, int | None]]:
    """The same from another walk."""
    if not with_label:
        below = sorted(os.path.relpath(path, root) for path in files_below(root))
        return [(f'{root}/{name}', None) for name in below if is_image(name)]
    found: list[tuple[str, int | None]] = []
    for label, folder in enumerate(folders_in(root)):
        below = sorted(os.path.relpath(path, folder) for path in files_below(folder))
        found += [(f'{folder}/{name}', label) for name in below if is_image(name)]
    return found


@pytest.mark.parametrize('with_label', [True, False])
def test_lists_are_those_of_another_walk(root, with_label):
    found, said = samples_of(root, with_label=with_label)
    assert found == expected(root, with_label) and len(found) == 7
    assert len(said) == 1 and '2 hidden' in said[0] and '1 .txt' in said[0]
    assert samples_of(root, with_label=with_label, extensions=('.png',))[0] == [
        sample for sample in found if sample[0].endswith('.PNG')
    ]


@pytest.mark.parametrize('with_label', [True, False])
def test_lists_are_those_of_the_libraries(root, with_label):
    import mmpretrain.datasets.custom as custom

    made = custom.CustomDataset(data_root=str(root), with_label=with_label)
    kept = [made.get_data_info(i) for i in range(len(made))]
    again = custom.CustomDataset.load_data_list.__wrapped__(made)
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

    assert len(Notes(data_root=str(root))) == 1


def test_an_emptied_folder_is_said_as_ever(root):
    for path in [*root.rglob('*.jpg'), *root.rglob('*.PNG')]:
        path.unlink()
    with pytest.raises(DataError, match=words('no images', '1 .txt')):
        samples_of(root)


def test_workers_get_the_list_as_it_is(root):
    import mmpretrain.datasets.custom as custom

    made = custom.CustomDataset(data_root=str(root))
    copy = pickle.loads(pickle.dumps(made))
    assert copy.get_data_info(3) == made.get_data_info(3)
    made.get_subset_([4, 1])
    assert [made.get_data_info(i)['img_path'] for i in (0, 1)] == [
        copy.get_data_info(i)['img_path'] for i in (4, 1)
    ]
