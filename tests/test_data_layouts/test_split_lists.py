"""Lists that say which image is in which split."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from g2sd_mm.data_layouts import find_layout
from g2sd_mm.errors import DataError
from g2sd_mm.image_files import files_below

from ..helpers.exports import Scene, write_image
from ..helpers.toys import words

_XML = (
    '<annotation><size><width>16</width><height>12</height></size><object><name>cat</name><bndbox>'
    '<xmin>2</xmin><ymin>2</ymin><xmax>8</xmax><ymax>8</ymax></bndbox></object></annotation>'
)


def voc(root: Path, names: Iterable[str]) -> Path:
    for name in names:
        write_image(Scene(name, 'train', (16, 12), ()), root / 'JPEGImages' / f'{name}.jpg')
        xml = root / 'Annotations' / f'{name}.xml'
        xml.parent.mkdir(parents=True, exist_ok=True)
        xml.write_text(_XML)
    return root


def lists(root: Path, kind: str = 'Main', **lines: list[str]) -> None:
    for split, listed in lines.items():
        file = root / 'ImageSets' / kind / f'{split}.txt'
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('\n'.join(listed))


def images(root: Path) -> dict[str, list[str]]:
    """Split -> images that are read, below ``JPEGImages`` and without ending."""
    found = {}
    for split in find_layout(root).splits:
        entries = json.loads(split.labels.read_text())['images']
        found[split.name] = sorted(entry['file_name'][11:-4] for entry in entries)
    return found


def test_namesakes_in_sub_folders_stay_in_their_splits(tmp_path):
    listed = {
        'train': ['cam1/0001', 'cam1/0002'], 'val': ['cam3/0009'], 'test': ['cam2/0001'],
    }  # fmt: skip
    root = voc(tmp_path, [name for names in listed.values() for name in names])
    lists(root, **listed)
    assert images(root) == listed


@pytest.mark.parametrize(
    ('line', 'name'),
    [
        ('photo (1)', 'photo (1)'),
        ('"photo (1)"', 'photo (1)'),
        ('IMG_1.2.3', 'IMG_1.2.3'),
        ('IMG_1.2.3.png', 'IMG_1.2.3'),  # they were .png once
        ('a -1', 'a'),
        ('JPEGImages/a.jpg Annotations/a.xml', 'a'),
        ('Annotations/a.xml', 'a'),
        ('a.jpg', 'a'),
    ],
)
def test_lines_of_all_kinds(tmp_path, line, name):
    root = voc(tmp_path, [name, 'photo', 'b'])
    lists(root, train=[line], val=['b'])
    assert images(root) == {'train': [name], 'val': ['b']}
    assert any('1 images' in note and 'no list' in note for note in find_layout(root).notes)


def test_what_is_listed_wrongly_is_named(tmp_path):
    root = voc(tmp_path, ['a', 'b', 'photo', 'cam1/c', 'cam2/c'])
    for wrong in ('photo (1)', 'nothing', 'cam3/a/x'):
        lists(root, train=['a', wrong], val=['b'])
        with pytest.raises(DataError, match=words('train.txt', wrong, 'nowhere')):
            find_layout(root)
    lists(root, train=['a', 'b'], val=['b'])
    with pytest.raises(DataError, match=words('val.txt', 'train.txt')):
        find_layout(root)
    lists(root, train=['a', 'c'], val=['b'])
    with pytest.raises(DataError, match=words('train.txt', 'cam1/c.jpg', 'cam2/c.jpg')):
        find_layout(root)


def test_images_without_xml_are_counted(tmp_path):
    root = voc(tmp_path, ['a', 'b', 'cam1/c', 'cam2/c'])
    (root / 'Annotations/cam2/c.xml').unlink()
    lists(root, train=['a', 'cam2/c'], val=['b'])
    assert images(root) == {'train': ['a'], 'val': ['b']}
    notes = find_layout(root).notes
    assert [n for n in notes if n.startswith('1 images')] == list(notes[-2:])
    assert 'XML' in notes[-2]


def test_an_xml_file_is_of_no_namesake_elsewhere(tmp_path):
    for split in ('train', 'val'):
        for name in 'ab':
            image = write_image(Scene(name, split, (16, 12), ()), tmp_path / split / f'{name}.jpg')
            image.with_suffix('.xml').write_text(_XML.replace('<size', f'<filename>{name}.jpg'
                                                              '</filename><size'))
    assert [split.name for split in find_layout(tmp_path).splits] == ['train', 'val']
    (tmp_path / 'val/a.jpg').unlink()
    (tmp_path / 'train/a.xml').unlink()
    with pytest.raises(DataError, match=words('val/a.xml')):
        find_layout(tmp_path)


def test_lists_of_masks(tmp_path):
    mask = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4) % 3)
    for folder in 'ab':
        for i in range(4):
            scene = Scene(f'{folder}{i}', '', (4, 3), ())
            write_image(scene, tmp_path / f'images/{folder}/{i}.png')
            (tmp_path / 'masks' / folder).mkdir(parents=True, exist_ok=True)
            mask.save(tmp_path / f'masks/{folder}/{i}.png')

    def read(train: str, val: str) -> dict[str, list[str]]:
        for split, folder in (('train', train), ('val', val)):
            file = tmp_path / f'{split}.txt'
            file.write_text(''.join(f'images/{folder}/{i}.png\n' for i in range(3)))
        layout = find_layout(tmp_path)
        assert any(note.startswith('2 images') for note in layout.notes)
        return {
            s.name: sorted(p.relative_to(s.images).as_posix() for p in files_below(s.images))
            for s in layout.splits
        }

    expected = {folder: [f'{folder}/{i}.png' for i in range(3)] for folder in 'ab'}
    assert read('a', 'b') == {'train': expected['a'], 'val': expected['b']}
    assert read('b', 'a') == {'train': expected['b'], 'val': expected['a']}  # another copy
