"""``tools/pack_data.py`` as people run it, and training commands on what it writes."""

from __future__ import annotations

import pytest

from g2sd_mm.cli import pack_data
from g2sd_mm.errors import UserError
from g2sd_mm.runs.data import prepare_data

from ..helpers.toys import config, image_folder, words

DATASET = 'train_dataloader.dataset.dataset'

pytest.importorskip('lmdb')


@pytest.fixture
def packed(tmp_path, capsys) -> str:
    folder = image_folder(tmp_path / 'images', classes=3, each=2)
    file = tmp_path / 'sets' / 'train.lmdb'
    pack_data._run(folder, file)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f'{file}: 6 files, ')
    assert second == f'read it as data_root=packed://{file}'
    return f'packed://{file}'


def prepare(**options) -> None:
    prepare_data(config('imagenet/vitb_cls.py', **options), ('train_dataloader',))


def test_class_folders_are_counted_inside(packed):
    prepare(**{f'{DATASET}.data_root': packed, 'num_classes': 3})
    with pytest.raises(UserError, match=words('train.lmdb has 3 class folders', '=1000')):
        prepare(**{f'{DATASET}.data_root': packed})
    with pytest.raises(UserError, match=words('no data at', 'train.lmdb/train')):
        prepare(**{f'{DATASET}.data_root': packed, f'{DATASET}.data_prefix': 'train'})


def test_a_missing_file_is_named(tmp_path):
    message = words('no file', 'x.lmdb: python tools/pack_data.py')
    with pytest.raises(FileNotFoundError, match=message):
        prepare(**{f'{DATASET}.data_root': f'packed://{tmp_path}/x.lmdb'})


def test_packed_data_lie_where_all_data_lie(monkeypatch):
    monkeypatch.setenv('G2SD_DATA', '/mine')
    cfg = config('imagenet/vitb_cls.py', **{f'{DATASET}.data_root': 'packed://data/train.lmdb'})
    assert cfg.train_dataloader.dataset.dataset.data_root == 'packed:///mine/train.lmdb'
