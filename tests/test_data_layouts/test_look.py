"""Folders of data: the checker and the suites find the same in them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from g2sd_mm.bench.suites.data import find_data
from g2sd_mm.data_checks.run import recognise
from g2sd_mm.data_layouts import find_layout
from g2sd_mm.errors import DataError, UserError

from ..helpers import small_masks
from ..helpers.small_coco import write_split
from ..helpers.toys import image_folder, words
from ..test_bench.test_suites.test_handover import coco


@pytest.fixture
def annotated(tmp_path) -> Path:
    for split in ('train2017', 'val2017'):
        coco(tmp_path / 'objects', split)
    return tmp_path / 'objects'


def moved(root: Path, folder: str) -> Path:
    (root / 'annotations').rename(root / folder)
    return root


@pytest.mark.parametrize('folder', ['annotations', 'labels', 'json'])
def test_annotation_files_lie_in_any_folder_for_both(annotated, folder):
    root = moved(annotated, folder)
    (data,) = find_data([str(root)]).sources
    files = [root / folder / f'instances_{split}.json' for split in ('train2017', 'val2017')]
    assert data.task == 'det'
    assert data.options['val_evaluator.ann_file'] == str(files[1])
    sources = recognise(root)
    assert [source.place for source in sources] == [str(file) for file in files]
    assert sources[0].images()[0].startswith(str(data.train))


def test_files_beside_the_images_are_found_by_both(annotated):
    for file in (annotated / 'annotations').iterdir():
        file.rename(annotated / file.name)
    (annotated / 'annotations').rmdir()
    assert [split.labels for split in find_layout(annotated).splits] == [
        annotated / 'instances_train2017.json', annotated / 'instances_val2017.json'
    ]  # fmt: skip
    assert find_data([str(annotated)]).tasks == ['det']


@pytest.mark.parametrize(
    ('split', 'kind'), [('train', 'lacking-category'), ('val', 'unknown-class')]
)
def test_a_category_that_one_split_alone_has_is_harm(tmp_path, split, kind):
    def one_more(content):
        content['categories'].append(dict(id=3, name='cherry'))
        content['annotations'][0]['category_id'] = 3

    for name in ('train', 'val', 'test'):
        write_split(tmp_path, name, edit=one_more if name == split else None)
    findings = [f for source in recognise(tmp_path) for f in source.structure() if f.harmful]
    file = str(tmp_path / 'annotations' / 'instances_val.json')
    assert [(f.kind, f.path, f.detail) for f in findings] == [(kind, file, "'cherry'")]


def test_two_files_for_one_split_are_refused_by_both(annotated):
    (annotated / 'labels').mkdir()
    file = annotated / 'labels' / 'instances_val2017.json'
    file.write_bytes((annotated / 'annotations' / file.name).read_bytes())
    for find in (recognise, lambda root: find_data([str(root)])):
        with pytest.raises(UserError, match=words(f'labels/{file.name}', 'val2017')):
            find(annotated)


def test_a_file_without_its_images_is_left_out_or_named(annotated):
    (annotated / 'val2017').rename(annotated / 'other')
    assert [split.name for split in find_layout(annotated).splits] == ['train2017']
    with pytest.raises(UserError, match=words(str(annotated), 'no val*')):
        find_data([str(annotated)])
    (annotated / 'train2017').rename(annotated / 'more')
    with pytest.raises(DataError, match=words('instances_train2017.json', 'more', 'other')):
        find_layout(annotated)  # the images of both have the same names
    for folder in ('more', 'other'):
        shutil.rmtree(annotated / folder)
    missing = words('instances_train2017.json', str(annotated / 'train2017'))
    with pytest.raises(DataError, match=missing):
        find_layout(annotated)


def test_stray_folders_are_neither_classes_nor_splits(tmp_path):
    for split in ('train', 'val'):
        image_folder(tmp_path / 'pictures' / split, classes=2, each=2)
        (tmp_path / 'pictures' / split / '.ipynb_checkpoints').mkdir()
    (tmp_path / 'pictures' / '__MACOSX').mkdir()
    assert find_layout(tmp_path / 'pictures').task == 'cls'
    (data,) = find_data([str(tmp_path / 'pictures')]).sources
    assert data.options['num_classes'] == 2
    assert [source.classes for source in recognise(tmp_path / 'pictures')] == [
        ('class_0', 'class_1')
    ] * 2


def test_masks_are_those_of_the_same_folders(tmp_path):
    root = small_masks.write_data(tmp_path / 'scenes', labels=7)
    layout = find_layout(root)
    assert layout.task == 'seg'
    assert [split.name for split in layout.splits] == ['training', 'validation']
    assert layout.split('train') == layout.splits[0] and layout.split('test') is None
    assert find_data([str(root)]).tasks == ['seg']


def test_what_is_no_data_is_refused(tmp_path):
    with pytest.raises(DataError, match=words('no folder', 'nowhere')):
        find_layout(tmp_path / 'nowhere')
    (tmp_path / '.git').mkdir()
    with pytest.raises(DataError, match='laid out as none of'):
        find_layout(tmp_path)
