"""Annotation files: where their images are, which of them count, and sizes that lack."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from g2sd_mm.data_layouts import Choices, Layout, find_layout
from g2sd_mm.data_layouts.choices import read_answers
from g2sd_mm.data_layouts.coco_exports import has_to_be_read
from g2sd_mm.errors import DataError

from ..helpers.exports import Scene, coco_content, write_image
from ..helpers.toys import words

SPLITS = ('train', 'val')


def coco(root: Path, file: str = 'annotations/{}.json', folder: str = '{}') -> Path:
    """Images of both splits have the same names."""
    for split in SPLITS:
        made = [Scene(name, split, (16, 12), ((0, (2, 2, 8, 8)),)) for name in 'abc']
        for scene in made:
            write_image(scene, root / folder.format(split) / f'{scene.name}.png')
        place = root / file.format(split)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(coco_content(made)))
    return root


def pictures(layout: Layout) -> dict[str, bytes]:
    return {split.name: (split.images / 'a.png').read_bytes() for split in layout.splits}


@pytest.mark.parametrize('other', ['.', 'images', 'annotations', 'data'])
@pytest.mark.parametrize('folder', ['{}', 'images/{}', '{}/images'])
def test_folders_of_splits_come_before_others_with_the_same_names(tmp_path, folder, other):
    coco(tmp_path, folder=folder)
    for name in 'abc':
        write_image(Scene(name, 'old', (16, 12), ()), tmp_path / other / f'{name}.png')
    assert pictures(find_layout(tmp_path)) == {
        split: (tmp_path / folder.format(split) / 'a.png').read_bytes() for split in SPLITS
    }


def test_each_split_may_have_a_choice_of_its_own(tmp_path):
    coco(coco(tmp_path, 'annotations/{}_a.json'), 'annotations/{}_b.json')
    with pytest.raises(DataError, match=words('file=annotations/train_a.json')):
        find_layout(tmp_path)
    one = Choices(read_as=read_answers(['file=annotations/train_a.json']))
    with pytest.raises(DataError, match=words('file=annotations/val_b.json')):
        find_layout(tmp_path, one)
    both = ['file=annotations/train_a.json', 'file=annotations/val_b.json']
    choices = Choices(read_as=read_answers(both))
    assert read_answers(choices.words()[1:]) == choices.read_as
    found = [split.labels.name for split in find_layout(tmp_path, choices).splits]
    assert found == ['train_a.json', 'val_b.json']
    for wrong in ('annotations/train_x.json', 'annotations/train_a.json,annotations/train_b.json'):
        with pytest.raises(DataError, match=words('train_a.json', 'train_b.json')):
            find_layout(tmp_path, Choices(read_as={'file': wrong}))


def test_a_choice_counts_before_the_usual_name(tmp_path):
    coco(tmp_path, 'labels/instances_{}.json', 'images/{}')
    shutil.copy(tmp_path / 'labels/instances_val.json', tmp_path / 'labels/new_val.json')
    for answers, name in (({}, 'instances_val'), ({'file': 'labels/new_val.json'}, 'new_val')):
        layout = find_layout(tmp_path, Choices(read_as=answers))
        assert layout.split('val').labels.stem == name


@pytest.mark.parametrize('file', ['annotations/instances_{}.json', '{}/_annotations.coco.json'])
@pytest.mark.parametrize('lacking', [('width', 'height'), ('width',)])
def test_sizes_that_lack_are_those_of_the_images(tmp_path, file, lacking):
    coco(tmp_path, file)
    place = tmp_path / file.format('val')
    content = json.loads(place.read_text())
    for key in lacking:
        del content['images'][1][key]
    place.write_text(json.dumps(content))
    (split,) = [s for s in find_layout(tmp_path).splits if s.name == 'val']
    sizes = {(i['width'], i['height']) for i in json.loads(split.labels.read_text())['images']}
    assert sizes == {(16, 12)}


def test_file_names_of_annotations_are_no_images(tmp_path):
    coco(tmp_path, 'annotations/instances_{}.json')
    for file in (tmp_path / 'annotations').iterdir():
        content = json.loads(file.read_text())
        images = tmp_path / file.stem.removeprefix('instances_')
        for annotation in content['annotations']:
            annotation['file_name'] = 'mask.png'
        for part in (content, dict(reversed(content.items()))):  # images before and behind
            file.write_text(json.dumps(part))
            assert not has_to_be_read(file, images)
            sizeless = [{k: v for k, v in i.items() if k != 'width'} for i in content['images']]
            file.write_text(json.dumps({**part, 'images': sizeless}))
            assert has_to_be_read(file, images)


@pytest.mark.parametrize('between', ['/', '\\'])
def test_names_may_begin_with_the_folder_of_the_split(tmp_path, between):
    coco(tmp_path, 'annotations/instances_{}.json')
    for file in (tmp_path / 'annotations').iterdir():
        content = json.loads(file.read_text())
        for image in content['images']:
            image['file_name'] = file.stem.removeprefix('instances_') + between + image['file_name']
        file.write_text(json.dumps(content))
    for split in find_layout(tmp_path).splits:
        images = json.loads(split.labels.read_text())['images']
        found = [(split.images / image['file_name']).resolve() for image in images]
        assert found and all(path.parent == tmp_path / split.name for path in found)
        assert all(path.is_file() for path in found)
    shutil.rmtree(tmp_path / 'train')
    (tmp_path / 'train').mkdir()
    assert find_layout(tmp_path).copy is None  # the checker names those that are not there


@pytest.mark.parametrize('file', ['annotations/instances_{}.json', 'annotations/{}.json'])
@pytest.mark.parametrize('folder', ['{}', 'images'])
def test_images_that_no_file_lists_are_counted(tmp_path, file, folder):
    coco(tmp_path, file, folder)
    assert not [note for note in find_layout(tmp_path).notes if 'in no' in note]
    for name in ('lost', 'lo\u015bt'):
        write_image(Scene(name, 'x', (16, 12), ()), tmp_path / folder.format('val') / f'{name}.png')
    write_image(Scene('t', 'x', (16, 12), ()), tmp_path / 'test' / 't.png')  # may lack labels
    place = tmp_path / file.format('val')
    content = json.loads(place.read_text())
    content['images'][0]['file_name'] = 'lo\u015bt.png'
    place.write_text(json.dumps(content))
    (note,) = [note for note in find_layout(tmp_path).notes if 'in no' in note]
    lost = 'a' if folder == '{}' else 'lost'
    assert note.startswith('2 ' if folder == '{}' else '1 ') and f'{lost}.png' in note
