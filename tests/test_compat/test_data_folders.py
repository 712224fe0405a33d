"""Class folders and folders of images as training lists them, and what its log says of the rest."""

from __future__ import annotations

import os
import shutil

import pytest
from mmengine import fileio
from mmengine.registry import DATASETS

from g2sd_mm.compat.data_folders import noting_strays
from g2sd_mm.errors import DataError

from ..helpers.toys import image_folder, logged, words


@pytest.fixture
def folder(tmp_path):
    return image_folder(tmp_path / 'images', classes=2, each=4)


@pytest.fixture
def log():
    with logged() as lines:
        yield lines


def dataset(root, **options):
    import mmpretrain.datasets  # noqa: F401

    return DATASETS.build(
        dict(_scope_='mmpretrain', type='CustomDataset', data_root=str(root), **options)
    )


def masks(root, **options):
    import mmseg.datasets  # noqa: F401

    return DATASETS.build(
        dict(
            _scope_='mmseg',
            type='BaseSegDataset',
            data_root=str(root),
            data_prefix=dict(img_path='images', seg_map_path='masks'),
            **options,
        )
    )


def test_all_endings_are_found_and_nothing_is_said(folder, log):
    before = len(dataset(folder))
    files = sorted((folder / 'class_0').iterdir())
    for file, ending in zip(files, ('.WEBP', '.tiff', '.jfif', '.avif'), strict=True):
        file.rename(file.with_suffix(ending))
    assert len(dataset(folder)) == before == 8
    assert not [line for line in log if 'passed over' in line]


def test_strays_are_no_classes_and_no_images_and_are_counted(folder, log):
    picture = next((folder / 'class_0').iterdir())
    for name in ('.ipynb_checkpoints', '__MACOSX', 'class_0/.ipynb_checkpoints'):
        (folder / name).mkdir()
        shutil.copy(picture, folder / name / 'x.png')
    for name in ('.DS_Store', 'Thumbs.db', 'class_1/._x.png'):
        (folder / name).write_bytes(b'x')
    (folder / 'class_1' / 'endless').symlink_to('..')
    data = dataset(folder)
    assert data.metainfo['classes'] == ('class_0', 'class_1') and len(data) == 8
    (line,) = (line for line in log if 'passed over' in line)
    assert str(folder) in line and '7 hidden or system' in line
    assert len(dataset(folder, with_label=False)) == 8


def test_links_to_nothing_are_counted(folder, log):
    (folder / 'class_0' / 'gone.png').symlink_to('/nowhere/gone.png')
    assert len(dataset(folder)) == 8
    (line,) = (line for line in log if 'passed over' in line)
    assert '1 links' in line and 'hidden' not in line


def test_what_is_lost_is_counted_with_its_endings(folder, log):
    for name in ('class_0/a.heic', 'class_0/b.heic', 'class_1/notes.txt', 'loose.png'):
        (folder / name).write_bytes(b'x')
    assert len(dataset(folder)) == 8
    (line,) = (line for line in log if 'passed over' in line)
    assert '1 images in no class folder' in line and '3 files that are not read' in line
    assert '2 .heic' in line


def test_folders_without_images_say_what_they_have(folder):
    for file in sorted(folder.rglob('*.*')):
        file.rename(file.with_suffix('.heic'))
    with pytest.raises(DataError, match=words(str(folder), '8 .heic', '.jpg')):
        dataset(folder)
    with pytest.raises(DataError, match=words(str(folder / 'class_0'), 'no class folders')):
        for file in sorted((folder / 'class_0').iterdir()):
            file.rename(file.with_suffix('.png'))
        dataset(folder / 'class_0')


def test_links_to_class_folders_are_followed(folder, tmp_path):
    (tmp_path / 'subset').mkdir()
    for name in ('class_0', 'class_1'):
        (tmp_path / 'subset' / name).symlink_to(folder / name)
    assert len(dataset(tmp_path / 'subset')) == 8


def test_an_own_list_of_endings_is_kept(folder):
    assert len(dataset(folder, extensions=('.png',))) == 4


def test_listings_take_what_mmengine_takes(folder):
    names = set(fileio.list_dir_or_file(str(folder), recursive=True))
    assert names == {os.path.relpath(path, folder) for path in folder.rglob('*')}
    assert not set(fileio.list_dir_or_file(str(folder), list_dir=False))
    assert set(fileio.list_dir_or_file(str(folder), list_file=False)) == {'class_0', 'class_1'}
    with pytest.raises(TypeError):
        list(fileio.list_dir_or_file(str(folder), suffix='.png'))
    with noting_strays() as strays:
        assert len(list(fileio.list_dir_or_file(
            str(folder), list_dir=False, suffix='.PNG', recursive=True))) == 4  # fmt: skip
    assert not strays


# Images with masks --------------------------------------------------------------------------------


@pytest.fixture
def scenes(tmp_path):
    for name in ('images', 'masks'):
        (tmp_path / name).mkdir()
    for i in range(3):
        (tmp_path / 'images' / f'{i}.png').write_bytes(b'')
        (tmp_path / 'masks' / f'{i}.png').write_bytes(b'')
    return tmp_path


def test_an_ending_in_capitals_is_the_same_ending(scenes):
    (scenes / 'images' / '2.png').rename(scenes / 'images' / '2.PNG')
    data = masks(scenes, img_suffix='.png')
    assert len(data) == 3
    assert data.get_data_info(2)['seg_map_path'] == str(scenes / 'masks' / '2.png')


def test_a_wrong_ending_is_told_the_right_one(scenes):
    with pytest.raises(DataError, match=words('.jpg', str(scenes / 'images'), '3 .png',
                                              'img_suffix')):  # fmt: skip
        masks(scenes)


def test_images_of_another_ending_are_counted(scenes, log):
    (scenes / 'images' / '2.png').rename(scenes / 'images' / '2.jpg')
    assert len(masks(scenes, img_suffix='.png')) == 2
    (line,) = (line for line in log if 'passed over' in line)
    assert '1 images of another ending' in line and '1 .jpg' in line


def test_masks_beside_their_images_are_no_images(scenes, log):
    for file in (scenes / 'images').iterdir():
        shutil.copy(file, file.with_suffix('.jpg'))
    shutil.rmtree(scenes / 'masks')
    (scenes / 'masks').symlink_to('images')
    data = DATASETS.build(
        dict(_scope_='mmseg', type='BaseSegDataset', data_root=str(scenes),
             data_prefix=dict(img_path='images', seg_map_path='images'))
    )  # fmt: skip
    assert len(data) == 3
    assert not [line for line in log if 'passed over' in line]
