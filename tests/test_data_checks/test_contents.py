"""What the labels hold together, and what is wrong with it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from g2sd_mm.data_checks.class_folders import count_labels
from g2sd_mm.data_checks.coco import Reading, count_objects
from g2sd_mm.data_checks.contents import Contents, merged, problems
from g2sd_mm.data_checks.masks import Labels, count_masks, labels_in
from g2sd_mm.data_layouts.coco_file import read_annotations

from ..helpers.small_coco import CLASSES, with_values, without, write_split

ALL = Reading(CLASSES, masks=True)


def kinds(contents: Contents, training: bool = True) -> list[tuple[str, bool]]:
    return [(finding.kind, finding.harmful) for finding in problems(contents, training)]


def counted(tmp_path, edit=None, reading: Reading = ALL) -> Contents:
    content = read_annotations(write_split(tmp_path, 'train', edit=edit)).content
    return count_objects(content, 'x.json', reading)


def only(category: int):
    def edit(content):
        content['annotations'] = [
            a for a in content['annotations'] if a['category_id'] == category
        ]

    return edit


def some_without_masks(content):
    for annotation in content['annotations'][:3]:
        del annotation['segmentation']


OUTSIDE = with_values(bbox=[100, 100, 20, 20])


def test_good_objects_have_no_problem(tmp_path):
    contents = counted(tmp_path)
    assert dict(contents.counts) == {0: 4, 1: 4} and contents.total == 8
    assert kinds(contents) == kinds(contents, training=False) == []


@pytest.mark.parametrize(
    ('edit', 'reading', 'kind'),
    [
        (without('segmentation'), ALL, 'no-masks'),
        (with_values(segmentation=[]), ALL, 'no-masks'),
        (with_values(segmentation=[[1, 2, 3, 4]]), ALL, 'no-masks'),
        (with_values(iscrowd=1), ALL, 'all-crowd'),
        (with_values(ignore=1), ALL, 'all-crowd'),
        (without('segmentation'), Reading(CLASSES[:1], masks=True), 'no-masks'),
        (without('segmentation'), Reading((CLASSES[0], 'x'), masks=True), 'no-masks'),
        (OUTSIDE, ALL, 'nothing-to-learn'),
        (with_values(bbox=[1, 1, 0.5, 20]), ALL, 'nothing-to-learn'),
        (lambda c: c.update(annotations=[]), ALL, 'nothing-to-learn'),
        (None, Reading(('cherry',)), 'nothing-to-learn'),
        (None, Reading(CLASSES, min_size=100), 'nothing-to-learn'),
    ],
)
def test_nothing_to_learn_is_harmful(tmp_path, edit, reading, kind):
    assert kinds(counted(tmp_path, edit, reading)) == [(kind, True)]


@pytest.mark.parametrize('training', [True, False])
def test_crowd_regions_among_objects_are_a_note(tmp_path, training):
    def one(content):
        content['annotations'][3]['iscrowd'] = 1

    (finding,) = problems(counted(tmp_path, one), training)
    assert (finding.kind, finding.harmful) == ('crowd-regions', False)
    assert finding.path == 'x.json' and '1 of 8' in finding.detail


def test_categories_that_are_not_listed_are_no_ignored_objects(tmp_path):
    def berries(content):
        for annotation in content['annotations'][:-2]:
            annotation['category_id'] = 2

    assert kinds(counted(tmp_path / 'a', berries, Reading(CLASSES[:1]))) == []

    def crowd_but_two(content):
        for annotation in content['annotations'][2:]:
            annotation['iscrowd'] = 1

    assert kinds(counted(tmp_path / 'b', crowd_but_two)) == [('mostly-ignored', False)]


def test_boxes_alone_are_enough_without_masks_in_the_pipeline(tmp_path):
    assert kinds(counted(tmp_path, without('segmentation'), Reading(CLASSES))) == []


@pytest.mark.parametrize('training', [True, False])
def test_boxes_written_as_corners_are_harmful(tmp_path, training):
    def corners(content):
        for annotation in content['annotations']:
            x, y, w, h = annotation['bbox']
            annotation['bbox'] = [x, y, x + w, y + h]

    (finding,) = problems(counted(tmp_path / 'a', corners), training)
    assert finding.harmful and '8 of 8 boxes' in finding.detail and 'x1, y1' in finding.detail
    # a box that reaches over an edge by a little, as people draw around what fills the picture
    over = with_values(bbox=[3, 2, 64, 63])
    assert kinds(counted(tmp_path / 'b', over), training) == []


def test_a_metric_of_nothing_is_harmful(tmp_path):
    contents = counted(tmp_path, with_values(iscrowd=1))
    assert kinds(contents, training=False) == [('nothing-to-evaluate', True)]


def test_absent_classes_and_ignored_objects_are_worth_a_line(tmp_path):
    contents = counted(tmp_path / 'a', only(2))
    (finding,) = problems(contents, training=True)
    assert (finding.kind, finding.harmful) == ('class-without-labels', False)
    assert "1 of 2 classes: 'apple'" in finding.detail
    assert kinds(contents, training=False) == [('class-not-evaluated', False)]
    assert kinds(counted(tmp_path / 'b', some_without_masks)) == [('ignored-object', False)]


def test_several_data_sets_are_one(tmp_path):
    parts = [counted(tmp_path / str(i), only(i)) for i in (1, 2)]
    assert all(kinds(part) for part in parts)
    assert kinds(merged(parts)) == []
    assert merged(parts).total == 8


# Images and masks ---------------------------------------------------------------------------------


def test_one_class_of_images_is_harmful():
    assert kinds(count_labels('x.txt', ['3', '3'])) == [('one-class', True)]
    assert kinds(count_labels('x.txt', ['3', '4'])) == []
    assert kinds(count_labels('x.txt', [])) == [('nothing-to-learn', True)]
    one_of_two = Contents('x', 'images', ('cat', 'dog'), {0: 5, 1: 0}, 5)
    assert kinds(one_of_two) == kinds(one_of_two, training=False) == [('one-class', True)]


@pytest.mark.parametrize(
    ('labels', 'found', 'expected'),
    [
        (Labels(2), [(0, 255), (0,)], [('one-class', True)]),
        (Labels(None), [(0, 255)], [('one-class', True)]),
        (Labels(2), [(0,), (0, 1)], []),
        (Labels(None), [(0, 1)], []),
        (Labels(2), [(255,)], [('nothing-to-learn', True)]),
        (Labels(1), [(0, 255)], []),  # one class against what is ignored, as a sigmoid has it
        (Labels(2, zero_is_ignored=True), [(0, 1), (0, 2)], []),
        (Labels(2, zero_is_ignored=True), [(0, 1)], [('one-class', True)]),
        (Labels(2, ignored=0), [(0, 1)], [('one-class', True)]),
        (Labels(3), [(0, 2)], [('class-without-labels', False)]),
    ],
)
def test_masks_of_one_class_are_harmful(labels, found, expected):
    assert kinds(count_masks('masks', labels, None, found)) == expected


def test_a_class_that_was_not_looked_for_everywhere_is_told_so():
    (finding,) = problems(count_masks('m', Labels(3), None, [(0, 1)], total=5000), True)
    assert 'in the 1 of 5000 masks looked at' in finding.detail


@pytest.mark.parametrize('mode', ['L', 'P', 'I;16', '1'])
def test_labels_of_a_mask_are_its_numbers(tmp_path, mode):
    numbers = np.array([[0, 1], [1, 3]], np.uint16 if mode == 'I;16' else np.uint8)
    image = Image.fromarray(numbers > 0 if mode == '1' else numbers)
    if mode == 'P':
        image.putpalette(list(range(30)))
    image.save(tmp_path / 'm.png')
    found = labels_in((tmp_path / 'm.png').read_bytes())
    assert found == ((0, 1) if mode == '1' else (0, 1, 3))
    assert labels_in(b'nothing') == labels_in(b'') == ()
