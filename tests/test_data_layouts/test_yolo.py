"""What a data.yaml and the text files beside images say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from g2sd_mm.data_layouts import Choices, Layout, find_layout, find_trainable
from g2sd_mm.errors import DataError

from ..helpers.exports import Scene, write_image
from ..helpers.toys import words

LINE = '0 .5 .5 .2 .2\n'


def yolo(root: Path, yaml: str, *folders: str) -> Path:
    """Two labelled images in each folder, and a data.yaml."""
    for folder in folders:
        for name in 'ab':
            image = write_image(Scene(name, folder, (16, 12), ()), root / folder / f'{name}.png')
            image.with_suffix('.txt').write_text(LINE)
    (root / 'data.yaml').write_text(yaml if 'names' in yaml else f'{yaml}\nnames: [cat, dog]\n')
    return root


def files_of(layout: Layout, split: str) -> list[str]:
    content = json.loads(layout.split(split).labels.read_text())
    return sorted(image['file_name'] for image in content['images'])


def classes_of(layout: Layout) -> list[str]:
    content = json.loads(layout.split('train').labels.read_text())
    return [category['name'] for category in content['categories']]


@pytest.mark.parametrize(
    ('train', 'val', 'folders'),
    [
        ('train', 'valid', ('train',)),
        ('train', '..', ('train',)),
        ('train', './..', ('train',)),
        ('images', 'valid/images', ('images',)),
        ('images/train', '../valid/images', ('images/train',)),
        ('a/images', 'b/images', ('images',)),  # both would be the same folder
        ('images/train', 'b/images', ('images/train', 'images/val')),
    ],
)
def test_a_missing_folder_is_named_and_no_other_one_is_read(tmp_path, train, val, folders):
    yolo(tmp_path, f'train: {train}\nval: {val}', *folders)
    with pytest.raises(DataError, match=words('data.yaml', f'val is {val}')):
        find_trainable(tmp_path)


@pytest.mark.parametrize('before', ['', '../', './', 'pets/', '../pets/'])
def test_folders_are_found_from_where_they_were_written(tmp_path, before):
    yolo(tmp_path, f'train: {before}images/train\nval: {before}images/val',
         'images/train', 'images/val')  # fmt: skip
    assert files_of(find_trainable(tmp_path), 'val') == ['images/val/a.png', 'images/val/b.png']


def test_the_training_images_may_validate_where_it_is_written(tmp_path):
    layout = find_trainable(yolo(tmp_path, 'train: images\nval: images', 'images'))
    assert files_of(layout, 'train') == files_of(layout, 'val')


def test_valid_is_a_name_of_val_beside_train(tmp_path):
    yolo(tmp_path, 'train: train\nvalid: other', 'train', 'other')
    assert files_of(find_trainable(tmp_path), 'val') == ['other/a.png', 'other/b.png']


def test_endings_of_labels_may_be_capitals(tmp_path):
    yolo(tmp_path, 'train: train\nval: val', 'train', 'val')
    (tmp_path / 'train/a.txt').rename(tmp_path / 'train/a.TXT')
    content = json.loads(find_layout(tmp_path).split('train').labels.read_text())
    assert len(content['annotations']) == 2


@pytest.mark.parametrize('names', [['no', 'yes'], ['on', 'off'], ['007', '1.10'], ['true', '1e3']])
def test_names_are_what_is_written(tmp_path, names):
    for said in (f'[{", ".join(names)}]', f'\n  0: {names[0]}\n  1: {names[1]}'):
        root = yolo(tmp_path, f'train: train\nval: val\nnames: {said}', 'train', 'val')
        assert classes_of(find_layout(root)) == names


@pytest.mark.parametrize('number', ['nan', 'inf', '1e20', '-1', '0.5'])
def test_numbers_of_classes_are_whole(tmp_path, number):
    yolo(tmp_path, 'train: train\nval: val', 'train', 'val')
    (tmp_path / 'val/b.txt').write_text(LINE + LINE.replace('0', number, 1))
    with pytest.raises(DataError, match=words('b.txt, line 2', 'class')):
        find_layout(tmp_path)


@pytest.mark.parametrize('shape', ['17', '[17, x]', '{a: 3}'])
def test_another_kpt_shape_is_named(tmp_path, shape):
    yolo(tmp_path, f'train: train\nval: val\nkpt_shape: {shape}', 'train', 'val')
    with pytest.raises(DataError, match=words('data.yaml', 'kpt_shape')):
        find_layout(tmp_path)


def test_key_points_are_passed_over(tmp_path):
    yolo(tmp_path, 'train: train\nval: val\nkpt_shape: [2, 3]', 'train', 'val')
    (tmp_path / 'train/a.txt').write_text('1 .5 .5 .2 .2 .1 .1 2 .3 .3 2\n')
    content = json.loads(find_layout(tmp_path).split('train').labels.read_text())
    assert content['annotations'][0]['bbox'] == pytest.approx([6.4, 4.8, 3.2, 2.4])


def test_rows_that_may_be_key_points_are_asked_for(tmp_path):
    yolo(tmp_path, 'train: train\nval: val', 'train', 'val')
    for name in ('train/a', 'train/b', 'val/a', 'val/b'):
        (tmp_path / f'{name}.txt').write_text(2 * '1 .5 .5 .25 .5 .4 .4 .6 .6\n')
    with pytest.raises(DataError, match=words(str(tmp_path), 'kpt_shape')):
        find_layout(tmp_path)
    written = (tmp_path / 'data.yaml').read_text()
    for shape, box in (('[2, 2]', [6, 3, 4, 6]), ('[]', [4, 4.8, 5.6, 2.4])):
        (tmp_path / 'data.yaml').write_text(f'{written}kpt_shape: {shape}\n')
        content = json.loads(find_layout(tmp_path).split('train').labels.read_text())
        assert content['annotations'][0]['bbox'] == pytest.approx(box)


def test_polygons_are_taken_as_such_though_one_may_be_key_points(tmp_path):
    yolo(tmp_path, 'train: train\nval: val', 'train', 'val')
    for name in ('train/a', 'train/b', 'val/a', 'val/b'):
        (tmp_path / f'{name}.txt').write_text(2 * '1 .5 .5 .25 .5 .4 .4 .6 .6\n')
    (tmp_path / 'val/b.txt').write_text('1 .1 .1 .3 .1 .3 .3 .1 .3\n')
    content = json.loads(find_layout(tmp_path).split('train').labels.read_text())
    assert len(content['annotations'][0]['segmentation'][0]) == 8


@pytest.mark.parametrize(
    'val',
    ['./images/train', 'images/train/', 'images/a/../train', '[images/train, ./images/train]'],
)
def test_one_folder_may_be_written_in_several_ways(tmp_path, val):
    layout = find_trainable(yolo(tmp_path, f'train: images/train\nval: {val}', 'images/train'))
    assert files_of(layout, 'train') == files_of(layout, 'val')


def test_a_way_back_leads_through_folders_that_are_not_there(tmp_path):
    yolo(tmp_path, 'train: train\nval: test/../val', 'train', 'val')
    assert files_of(find_trainable(tmp_path), 'val') == ['val/a.png', 'val/b.png']


@pytest.mark.parametrize('nothing', ['false', 'no', '', '[]', 'null', '""'])
def test_an_entry_may_say_that_there_is_no_such_split(tmp_path, nothing):
    yolo(tmp_path, f'train: train\nval: {nothing}\ntest: {nothing}', 'train')
    layout = find_trainable(tmp_path, Choices(val_share=0.5))
    assert [split.name for split in layout.splits] == ['train', 'val']


def test_keys_may_be_merged(tmp_path):
    yolo(tmp_path, 'base: &base\n  train: a\n<<: *base\nval: b', 'a', 'b')
    assert files_of(find_trainable(tmp_path), 'train') == ['a/a.png', 'a/b.png']
