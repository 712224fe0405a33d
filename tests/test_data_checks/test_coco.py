"""COCO annotation files: entries that cannot be read, and those that do not fit their image."""

from __future__ import annotations

import base64
import copy
import json
import math
import re
from io import BytesIO

import pytest
from PIL import Image

from g2sd_mm.data_checks import check
from g2sd_mm.data_checks.coco import CocoSplit, Reading
from g2sd_mm.data_checks.page import _sheet
from g2sd_mm.data_layouts.coco_file import malformed, read_coco, refuse_malformed
from g2sd_mm.data_layouts.coco_mended import complete, runs_of
from g2sd_mm.errors import DataError

from ..helpers import odd_images as odd

BOX = [10, 10, 20, 15]
POLYGON = [10, 10, 30, 10, 30, 25, 10, 25]
GOOD = dict(
    images=[dict(id=7, file_name='a.jpg', width=60, height=40)],
    categories=[dict(id=3, name='disc')],
    annotations=[
        dict(id=1, image_id=7, category_id=3, bbox=BOX, area=300, iscrowd=0, segmentation=[POLYGON])
    ],
)


NOTHING = 'none of 1 objects counts: 1 of 1 of categories that are not listed'


def changed(part: str, **changes) -> dict:
    """The good content with one entry changed; None takes a key away."""
    content = copy.deepcopy(GOOD)
    content[part][0] |= changes
    content[part][0] = {k: v for k, v in content[part][0].items() if v is not None}
    return content


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'a.jpg').write_bytes(odd.encoded())
    return tmp_path


def write(folder, content) -> str:
    (folder / 'train.json').write_text(json.dumps(content))
    return str(folder / 'train.json')


def found(folder, content, classes=None) -> list[tuple[str, str]]:
    source = CocoSplit(write(folder, content), folder, 'train', Reading(classes))
    return [(finding.kind, finding.detail) for finding in check([source], workers=0).findings]


# Run lengths --------------------------------------------------------------------------------------


def test_compressed_run_lengths_are_counted_as_pycocotools_writes_them():
    import numpy as np
    from pycocotools import mask as coco_mask

    rng = np.random.default_rng(0)
    for height, width in ((4, 5), (40, 60), (480, 640)):
        mask = np.asfortranarray(rng.random((height, width)) < 0.1, np.uint8)
        mask[: height // 2] = 1
        text = coco_mask.encode(mask)['counts'].decode()
        assert sum(runs_of(text)) == height * width
        assert sum(runs_of(text[:-1]) or []) != height * width


@pytest.mark.parametrize('counts', ['\0', 'o' * 20, '~~~', 'P', 7, None, [1, -1], [1.5], [True]])
def test_what_is_no_run_length(counts):
    assert runs_of(counts) is None


def test_plain_run_lengths_are_added():
    assert runs_of([3, 4, 5]) == [3, 4, 5]
    assert runs_of([]) == runs_of('') == []


# Reading ------------------------------------------------------------------------------------------


def test_a_good_file_has_nothing_wrong(folder):
    assert found(folder, GOOD, classes=['disc']) == []
    assert read_coco(write(folder, GOOD)) == GOOD
    refuse_malformed(GOOD, 'x.json')


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('', 'not a JSON file'),
        ('{"images": [', 'not a JSON file'),
        ('[' * 100000, 'not a JSON file'),
        ('[]', "no list 'images'"),
        ('{"images": [], "annotations": [1], "categories": []}', "no list 'annotations'"),
        ('{"images": [], "annotations": []}', "no list 'categories'"),
    ],
)
def test_another_file_is_refused_by_name(tmp_path, text, words):
    (tmp_path / 'x.json').write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        read_coco(tmp_path / 'x.json')
    assert str(caught.value).startswith(str(tmp_path / 'x.json'))


def test_a_missing_file_and_a_binary_one(tmp_path):
    with pytest.raises(DataError, match=r'x\.json: No such file'):
        read_coco(tmp_path / 'x.json')
    (tmp_path / 'x.json').write_bytes(b'\xff\xfe\x00\x80')
    with pytest.raises(DataError, match='not a JSON file'):
        read_coco(tmp_path / 'x.json')


RUNS = dict(size=[40, 60], counts=[100, 2300])
MALFORMED = [
    ('images', dict(id=None), 'image 0: its id is None'),
    ('images', dict(id=[1]), 'image 0: its id is [1]'),
    ('images', dict(file_name=5), 'image 0: its file_name is 5'),
    ('images', dict(height=0), 'image 0: height and width are [0, 60]'),
    ('images', dict(width=60.5), 'height and width are [40, 60.5]'),
    ('images', dict(height=1 << 20, width=1 << 20), 'more pixels than are read'),
    ('categories', dict(name=3), 'category 0: no id or name'),
    ('annotations', dict(id=1.5), 'annotation 0: its id is 1.5'),
    ('annotations', dict(image_id=None), 'its image_id is None'),
    ('annotations', dict(bbox=[1, 2, 3]), 'its bbox is [1, 2, 3]'),
    ('annotations', dict(bbox=[1, 2, 3, math.nan]), 'its bbox is [1, 2, 3, nan]'),
    ('annotations', dict(bbox=[1, 2, 3, 1e30]), 'its bbox is'),
    ('annotations', dict(bbox=[1, 2, 3, '4']), 'its bbox is'),
    ('annotations', dict(area='large'), "its area is 'large'"),
    ('annotations', dict(area=math.inf), 'its area is inf'),
    ('annotations', dict(iscrowd='no'), "its iscrowd is 'no'"),
    ('annotations', dict(segmentation='x'), 'neither polygons nor run lengths'),
    ('annotations', dict(segmentation=[1, 2]), 'neither polygons nor run lengths'),
    ('annotations', dict(segmentation=[[1, 2, 1e300, 4, 5, 6]]), 'neither polygons nor'),
    ('annotations', dict(segmentation={**RUNS, 'size': [60, 40]}), 'of size [60, 40], its image'),
    ('annotations', dict(segmentation={**RUNS, 'counts': [100, 9999]}), 'cover 10099 pixels'),
    ('annotations', dict(segmentation={**RUNS, 'counts': 'PPP'}), 'cover None pixels'),
    ('annotations', dict(segmentation=dict(counts=[])), 'of size None'),
]


@pytest.mark.parametrize(('part', 'changes', 'words'), MALFORMED)
def test_what_no_reader_survives_is_refused_and_told(folder, part, changes, words):
    content = changed(part, **changes)
    details = [what for _, what in malformed(content)]
    assert any(words in detail for detail in details), details
    with pytest.raises(DataError, match=r'x\.json: .*check_data\.py x\.json --images DIR lists'):
        refuse_malformed(content, 'x.json')
    assert 'malformed' in {kind for kind, _ in found(folder, content)}


def test_ids_are_given_once(folder):
    content = copy.deepcopy(GOOD)
    for part in content.values():
        part.append(copy.deepcopy(part[0]))
    assert [d for k, d in found(folder, content) if k == 'duplicate-id'] == [
        'annotations: id 1 2 times', 'categories: id 3 2 times', "categories: name 'disc' 2 times",
        'images: id 7 2 times',
    ]  # fmt: skip


@pytest.mark.parametrize('name', ['/etc/passwd', '../a.jpg', 'b/../../a.jpg', 'http://x/a', 'a\0'])
def test_a_name_that_leads_elsewhere_is_refused_and_not_opened(folder, name):
    content = changed('images', file_name=name)
    assert 'outside-folder' in {kind for kind, _ in found(folder, content)}
    assert CocoSplit(write(folder, content), folder, 'train').images() == []
    with pytest.raises(DataError, match='image 0'):
        refuse_malformed(content, 'x.json')


# What can be read and does not fit ----------------------------------------------------------------


@pytest.mark.parametrize(
    ('part', 'changes', 'kind'),
    [
        ('annotations', dict(bbox=[10, 10, 0.5, 20]), 'degenerate-box'),
        ('annotations', dict(bbox=[70, 10, 20, 20]), 'box-outside'),
        ('annotations', dict(bbox=[50, 10, 20, 20]), 'box-beyond'),
        ('annotations', dict(segmentation=[[10, 10, 20, 20]]), 'degenerate-polygon'),
        ('annotations', dict(segmentation=[[10, 10, 20, 20, 30, 30]]), 'degenerate-polygon'),
        ('annotations', dict(segmentation=[[10, 10, 90, 10, 30, 30]]), 'polygon-beyond'),
        ('images', dict(width=59), 'size-mismatch'),
        ('images', dict(file_name='b.jpg'), 'missing-image'),
    ],
)
def test_what_does_not_fit_is_told(folder, part, changes, kind):
    assert kind in {k for k, _ in found(folder, changed(part, **changes))}


def test_an_empty_mask_is_told_where_others_have_one(folder):
    alone = changed('annotations', segmentation=[])
    assert found(folder, alone) == [], 'a file of boxes'
    alone['annotations'].append({**GOOD['annotations'][0], 'id': 2})
    assert [kind for kind, _ in found(folder, alone)] == ['degenerate-polygon']


def test_boxes_may_be_rounded_by_a_pixel(folder):
    polygon = [0, 0, 60, 0, 60, 40, 0, 40]
    change = dict(bbox=[-0.5, 0, 60.9, 40.5], segmentation=[polygon])
    assert found(folder, changed('annotations', **change)) == []


@pytest.mark.parametrize(
    ('bbox', 'kinds'),
    [
        ([10, 10, 30, 25], ['box-off-mask']),  # corners instead of sides
        ([35, 10, 20, 15], ['box-off-mask']),
        ([9, 9, 22, 17], []),
        ([70, 10, 20, 20], ['box-outside']),
    ],
)
def test_a_box_that_is_not_around_its_polygons_is_told(folder, bbox, kinds):
    kinds_found = [k for k, _ in found(folder, changed('annotations', bbox=bbox))]
    assert [k for k in kinds_found if k.startswith('box')] == kinds
    without = found(folder, changed('annotations', bbox=bbox, segmentation=None))
    assert 'box-off-mask' not in dict(without)


def test_an_object_that_is_there_twice_is_told(folder):
    twice = copy.deepcopy(GOOD)
    twice['annotations'].append({**GOOD['annotations'][0], 'id': 2})
    assert found(folder, twice) == [('repeated-object', 'annotation 2: is annotation 1')]
    twice['annotations'][1]['bbox'] = [10, 10, 20, 14]
    assert found(folder, twice) == []


def test_an_image_with_two_entries_is_told(folder):
    twice = copy.deepcopy(GOOD)
    twice['images'].append({**GOOD['images'][0], 'id': 8})
    assert found(folder, twice) == [('listed-again', '2 times')]


@pytest.mark.parametrize(
    ('changes', 'area'),
    [
        (dict(area=0), 300),
        (dict(area=0, segmentation=None), 300),
        (dict(area=None), 300),
        (dict(area=7), 7),
        (dict(area=0, segmentation=[[10, 10, 20, 20, 30, 30]]), 0),  # it has none
        (dict(area=0, bbox=[10, 10, 0, 5]), 0),
    ],
)
def test_an_area_of_nothing_is_that_of_the_mask_or_the_box(folder, changes, area):
    content = changed('annotations', **changes)
    notes = complete(content)
    assert content['annotations'][0]['area'] == area and bool(notes) == (area == 300)


def test_annotations_of_nothing(folder):
    assert ('unknown-image', 'annotation 1: image 8') in found(
        folder, changed('annotations', image_id=8)
    )
    content = changed('annotations', category_id=4)
    assert found(folder, content, classes=['disc', 'dics']) == [
        ('nothing-to-learn', NOTHING),
        ('unknown-category', '1 of category 4'),
        ('lacking-category', "'dics'"),
        ('unused-category', "'disc'"),
    ]


def test_an_image_that_is_turned_when_it_is_read(folder):
    (folder / 'a.jpg').write_bytes(odd.rotated())
    assert ('rotated-annotated', 'listed as 60x40 px, is 40x60 px') in found(folder, GOOD)
    upright = changed('images', width=40, height=60)
    assert 'rotated-annotated' not in {kind for kind, _ in found(folder, upright)}


def test_the_contact_sheet_shows_pictures_upright(folder):
    (folder / 'a.jpg').write_bytes(odd.rotated())
    source = CocoSplit(write(folder, changed('images', width=40, height=60)), folder, 'train')
    (figure,) = _sheet(source)
    encoded = re.search('base64,([^"]+)"', figure)[1]
    assert Image.open(BytesIO(base64.b64decode(encoded))).size == (40, 60)
