"""Lists of classes, folders under numbers, and images that are held out."""

from __future__ import annotations

import json

import pytest

from g2sd_mm.bench.suites.data import find_data
from g2sd_mm.data_layouts import Choices, find_layout, find_trainable
from g2sd_mm.data_layouts.copies import held_out, original
from g2sd_mm.errors import DataError
from g2sd_mm.image_files import files_below, folders_in

from ..helpers import exports
from ..helpers.toys import image_folder, words
from .test_exports import everybody_reads

LABELS = {f'p{i:02d}': 'cat' if i % 3 else 'dog' for i in range(12)}


def read(folder) -> dict[str, str]:
    """Name -> class folder."""
    return {p.stem.rpartition('__')[2]: p.parent.name for p in files_below(folder)}


@pytest.mark.parametrize('header', ['filename,label', 'id,breed', 'path,class'])
def test_a_list_is_read_with_its_classes(tmp_path, header):
    root = exports.class_list(tmp_path / 'pets', LABELS, header)
    layout = find_layout(root)
    assert layout.task == 'cls' and read(layout.splits[0].images) == LABELS
    choices = Choices(val_share=0.25)
    train, val = (find_trainable(root, choices).split(name) for name in ('train', 'val'))
    assert {**read(train.images), **read(val.images)} == LABELS
    assert sorted(read(val.images).values()) == ['cat', 'cat', 'dog']
    everybody_reads(root, 'cls', choices)


def test_other_lists(tmp_path):
    root = exports.class_list(tmp_path / 'pets', LABELS)
    file = root / 'labels.csv'
    lines = [f'images/{n}.png;{"val" if i < 4 else "train"};{c};{i}' for i, (n, c) in enumerate(
        LABELS.items())]
    file.write_text('image;split;animal;age\n' + '\n'.join(lines))
    with pytest.raises(DataError, match=words('--read-as column=animal', 'column=age')):
        find_layout(root)
    layout = find_layout(root, Choices(read_as={'column': 'animal'}))
    assert [split.name for split in layout.splits] == ['train', 'val']
    assert len(read(layout.split('val').images)) == 4
    rows = [f'images/{n}.png,{int(c == "cat")},{int(c == "dog")}' for n, c in LABELS.items()]
    file.write_text('filename,cat,dog\n' + '\n'.join(rows))
    assert read(find_layout(root).splits[0].images) == LABELS
    file.write_text(file.read_text().replace('p03.png,0,1', 'p03.png,1,1'))
    with pytest.raises(DataError, match=words('p03.png', '2 classes')):
        find_layout(root)
    file.write_text('filename,label\n' + ''.join(f'images/{n}.png,{c}\n' for n, c in (
        *LABELS.items(), ('p99', 'cat'))))
    with pytest.raises(DataError, match=words('labels.csv', 'p99.png')):
        find_layout(root)


def test_folders_that_are_called_otherwise(tmp_path):
    root = tmp_path / 'pets'
    for split, each in (('Training', 3), ('valid', 2)):
        image_folder(root / split, classes=2, each=each)
    image_folder(root / 'test', classes=1, each=2)
    for file in list(files_below(root / 'test')):
        file.rename(root / 'test' / file.name)
    (root / 'test' / 'class_0').rmdir()
    layout = find_layout(root)
    assert [(s.name, s.labelled) for s in layout.splits] == [
        ('train', True), ('val', True), ('test', False)
    ]  # fmt: skip
    assert find_data([str(root)]).sources[0].options['num_classes'] == 2


def test_a_class_may_be_called_like_a_split(tmp_path):
    image_folder(tmp_path / 'vehicles', classes=2, each=2)
    (tmp_path / 'vehicles' / 'class_0').rename(tmp_path / 'vehicles' / 'train')
    (split,) = find_layout(tmp_path / 'vehicles').splits
    assert {f.name for f in folders_in(split.images)} == {'train', 'class_1'}


def test_numbers_are_called_by_the_names_beside_them(tmp_path):
    root = tmp_path / 'pets'
    for split in ('train', 'val'):
        image_folder(root / split, classes=11, each=1)
        for folder in folders_in(root / split):
            folder.rename(folder.with_name(folder.name.removeprefix('class_')))
    names = [f'name{i}' for i in range(11)]
    (root / 'classes.json').write_text(json.dumps(dict(enumerate(names))))
    layout = find_layout(root)
    file = next(files_below(layout.split('train').images / 'name10'))
    assert original(file).split('/')[-2] == '10'
    assert find_data([str(root)]).sources[0].options['num_classes'] == 11
    (root / 'classes.json').write_text(json.dumps(names[:10]))
    with pytest.raises(DataError, match=words('class folder 10', 'names 10')):
        find_layout(root)


def test_what_is_held_out_stays_when_images_come():
    few = {f'{i}': str(i % 3) for i in range(300)}
    many = few | {f'x{i}': str(i % 3) for i in range(300)}
    out, more = held_out(few, 0.2, 0), held_out(many, 0.2, 0)
    assert len(out) == 60 and len(more) == 120
    assert [sum(few[n] == g for n in out) for g in '012'] == [20, 20, 20]
    assert len(out & more) > 0.6 * len(out)  # those of a plain shuffle would be a fifth
    assert held_out(few, 0.2, 1) != out == held_out(dict(reversed(few.items())), 0.2, 0)


def test_a_class_of_one_image_cannot_be_split(tmp_path):
    image_folder(tmp_path / 'pets', classes=2, each=1)
    with pytest.raises(DataError, match=words('class_0', 'has one image')):
        find_trainable(tmp_path / 'pets', Choices(val_share=0.2))
