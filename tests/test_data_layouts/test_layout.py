"""Which image a list means."""

from __future__ import annotations

import json
from pathlib import Path, PurePath

import pytest

from g2sd_mm.data_layouts import Choices, find_layout, find_trainable
from g2sd_mm.data_layouts.layout import Listing
from g2sd_mm.errors import DataError

from ..helpers.exports import Scene, coco_content, write_image
from ..helpers.toys import words


def found(name: str, *images: str) -> str | None:
    image = Listing(Path('pets'), [PurePath(image) for image in images]).find(name)
    return None if image is None else image.as_posix()


@pytest.mark.parametrize(
    ('name', 'images', 'expected'),
    [
        # the path, or a part of it, with ending or without
        ('cam1/0.jpg', ('cam1/0.jpg', 'cam2/0.jpg'), 'cam1/0.jpg'),
        ('cam1/0', ('images/cam1/0.jpg', 'images/cam2/0.jpg'), 'images/cam1/0.jpg'),
        ('IMG_1.2.3', ('IMG_1.2.3.jpg', 'IMG_1.2.jpg'), 'IMG_1.2.3.jpg'),
        # a path that begins above the folder
        ('data/set/a/0.jpg', ('set/a/0.jpg', 'set/b/0.jpg'), 'set/a/0.jpg'),
        ('/home/pets/0.jpg', ('0.jpg', 'pets/1.jpg'), '0.jpg'),
        # of another machine
        ('C:\\Users\\me\\0.jpg', ('images/0.jpg', 'images/1.jpg'), 'images/0.jpg'),
        ('/home/me/old/cam2/0.jpg', ('new/cam1/0.jpg', 'new/cam2/0.jpg'), 'new/cam2/0.jpg'),
        ('valid/0.jpg', ('train/0.jpg', 'val/0.jpg'), 'val/0.jpg'),
        # missing: namesakes are no substitute
        ('val/0.jpg', ('train/0.jpg', 'val/1.jpg'), None),
        ('val/0.jpg', ('train/0.jpg', 'train/1.jpg'), None),
        ('val/0.jpg', ('0.jpg', 'val/1.jpg'), None),
        ('val/cam1/0.jpg', ('train/cam1/0.jpg', 'val/cam1/1.jpg'), None),
        ('train/Annotations/0', ('val/JPEGImages/0.jpg', 'train/JPEGImages/1.jpg'), None),
        ('cam2/0.jpg', ('cam2/small/0.jpg', 'cam2/1.jpg'), None),
    ],
)
def test_folders_of_a_list_count(name, images, expected):
    assert found(name, *images) == expected
    assert found(name, *reversed(images)) == expected


@pytest.mark.parametrize('name', ['0.jpg', '0', 'elsewhere/0.jpg'])
def test_a_name_of_several_images_is_asked_for(name):
    with pytest.raises(DataError, match=words('a/0.jpg', 'b/0.jpg')):
        found(name, 'a/0.jpg', 'b/0.jpg')


def coco(root: Path, **files: list[str]) -> None:
    """Annotation files of images that are called so; all of them are written."""
    for split, names in files.items():
        made = [Scene(name, split, (16, 12), ((0, (2, 2, 8, 8)),)) for name in names]
        for scene in made:
            write_image(scene, root / 'images' / f'{scene.name}.png')
        (root / 'annotations').mkdir(exist_ok=True)
        file = root / 'annotations' / f'instances_{split}.json'
        file.write_text(json.dumps(coco_content(made)))


def test_annotations_of_a_missing_image_go_to_no_other(tmp_path):
    coco(tmp_path, train=['cam1/0', 'cam1/1'], val=['cam2/0', 'cam2/1', 'cam2/2'])
    assert [split.name for split in find_layout(tmp_path).splits] == ['train', 'val']
    (tmp_path / 'images/cam2/1.png').unlink()
    with pytest.raises(DataError, match=words('instances_val.json', 'cam2/1.png')):
        find_layout(tmp_path)


def test_an_image_of_another_split_is_another_image(tmp_path):
    coco(tmp_path, train=['a', 'b', 'c'], val=['d', 'e', 'f'])
    for split, names in (('train', 'abc'), ('val', 'def')):
        (tmp_path / 'images' / split).mkdir()
        for name in names:
            image = tmp_path / 'images' / f'{name}.png'
            image.rename(image.parent / split / image.name)
        file = tmp_path / f'annotations/instances_{split}.json'
        content = json.loads(file.read_text())
        del content['images'][0]['width']  # so that names are written anew
        file.write_text(json.dumps(content))
    assert find_layout(tmp_path).copy is not None
    (tmp_path / 'images/val/e.png').rename(tmp_path / 'images/train/e.png')
    with pytest.raises(DataError, match=words('instances_val.json', 'e.png')):
        find_layout(tmp_path)


def test_two_names_of_one_image_are_refused(tmp_path):
    coco(tmp_path, train=['cam1/0', 'cam1/1'], val=['cam2/0', 'cam2/1'])
    (tmp_path / 'images/cam2/0.png').unlink()
    (tmp_path / 'images/cam2/1.png').unlink()
    with pytest.raises(DataError, match=words('instances_val.json', 'cam2/0.png', 'cam1/0.png')):
        find_layout(tmp_path)


def test_lists_of_yolo_may_have_sub_folders(tmp_path):
    names = [f'obj_train_data/{folder}/{i}.png' for folder in 'ab' for i in range(3)]
    for name in names:
        image = write_image(Scene(name, 'train', (16, 12), ()), tmp_path / name)
        image.with_suffix('.txt').write_text('0 .5 .5 .2 .2\n')
    (tmp_path / 'train.txt').write_text(''.join(f'data/{name}\n' for name in names))
    (tmp_path / 'obj.names').write_text('cat\n')
    layout = find_trainable(tmp_path, Choices(val_share=0.3))
    content = [json.loads(split.labels.read_text())['images'] for split in layout.splits]
    assert sorted(image['file_name'] for images in content for image in images) == names
