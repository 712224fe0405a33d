"""XML files: their splits, and numbers that are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from g2sd_mm.data_layouts import find_layout
from g2sd_mm.errors import DataError

from ..helpers.exports import Scene, scenes, voc, write_image
from ..helpers.toys import words

_XML = (
    '<annotation><object><name>cat</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>8</xmax>'
    '<ymax>8</ymax></bndbox></object></annotation>'
)


def test_images_in_folders_of_splits_may_have_their_xml_in_one(tmp_path):
    for split in ('train', 'val'):
        scene = Scene(f'{split[0]}0', split, (16, 12), ())
        write_image(scene, tmp_path / 'images' / split / f'{scene.name}.png')
        (tmp_path / 'xml').mkdir(exist_ok=True)
        (tmp_path / 'xml' / f'{scene.name}.xml').write_text(_XML)
    layout = find_layout(tmp_path)
    found = {
        split.name: [image['file_name'] for image in json.loads(split.labels.read_text())['images']]
        for split in layout.splits
    }
    assert found == {'train': ['images/train/t0.png'], 'val': ['images/val/v0.png']}


@pytest.mark.parametrize('how', ['devkit', 'roboflow'])
@pytest.mark.parametrize('value', ['abc', 'nan', 'inf', '1e400', ''])
def test_edges_that_are_no_numbers_are_named(tmp_path, how, value):
    root: Path = voc(tmp_path / 'fruit', scenes(), how)
    file = next(root.rglob('t_1.xml'))
    text = file.read_text()
    before, _, after = text.partition('<xmin>')
    file.write_text(f'{before}<xmin>{value}{after[after.index("<"):]}')
    with pytest.raises(DataError, match=words(str(file), repr(value))):
        find_layout(root)
    file.write_text(text.replace('<width>', '<width>9e999'))
    with pytest.raises(DataError, match=words(str(file))):
        find_layout(root)
