"""Class folders, images with masks, duplicates, layouts, and the report of it all."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from g2sd_mm.data_checks import check
from g2sd_mm.data_checks.class_folders import ClassFolders, ImageList
from g2sd_mm.data_checks.findings import Finding
from g2sd_mm.data_checks.image_masks import ImageMasks
from g2sd_mm.data_checks.masks import Labels
from g2sd_mm.data_checks.run import Report, recognise
from g2sd_mm.errors import DataError

from ..helpers import odd_images as odd


@pytest.fixture
def classes(tmp_path):
    """{train,val}/{cat,dog}/<n>.jpg, all different."""
    seed = 0
    for split in ('train', 'val'):
        for name in ('cat', 'dog'):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(2):
                seed += 1
                (tmp_path / split / name / f'{number}.jpg').write_bytes(odd.encoded(seed))
    return tmp_path


@pytest.fixture
def masks(tmp_path):
    """images/ and annotations/ with train/ and val/ of two samples each."""
    for seed, split in enumerate(('train', 'val')):
        for part in ('images', 'annotations'):
            (tmp_path / part / split).mkdir(parents=True)
        for number in range(2):
            image = odd.encoded(10 * seed + number)
            (tmp_path / 'images' / split / f'{number}.jpg').write_bytes(image)
            mask = np.resize(np.arange(3, dtype=np.uint8), odd.SIZE[::-1])
            Image.fromarray(mask).save(tmp_path / 'annotations' / split / f'{number}.png')
    return tmp_path


def found(root, labels: Labels | None = None) -> list[tuple[str, str]]:
    findings = check(recognise(root, labels), workers=0).findings
    return [(f.kind, os.path.relpath(f.path, root)) for f in findings]


# Class folders ------------------------------------------------------------------------------------


def test_good_class_folders(classes):
    assert found(classes) == []
    assert [source.split for source in recognise(classes)] == ['train', 'val']


def test_odd_class_folders(classes):
    (classes / 'train' / 'bird').mkdir()
    (classes / 'val' / 'fox').mkdir()
    shutil.copy(classes / 'val/cat/0.jpg', classes / 'val/fox/moved.jpg')
    (classes / 'val/cat/0.jpg').unlink()
    (classes / 'val/dog/notes.txt').write_text('x')
    (classes / 'val/loose.jpg').write_bytes(odd.encoded(99))
    assert found(classes) == [
        ('empty-class', 'train/bird'), ('unknown-class', 'val/fox'),
        ('loose-image', 'val/loose.jpg'), ('stray-file', 'val/dog/notes.txt'),
    ]  # fmt: skip


def test_hidden_and_system_files_are_one_finding(classes):
    for name in ('.DS_Store', 'Thumbs.db', 'cat/._0.jpg'):
        (classes / 'train' / name).write_bytes(b'x')
    for name in ('.ipynb_checkpoints', '__MACOSX'):
        (classes / 'train' / name).mkdir()
        (classes / 'train' / name / 'copy.jpg').write_bytes(odd.encoded(1))
    (finding,) = check(recognise(classes), workers=0).findings
    assert (finding.kind, finding.harmful) == ('passed-over', False)
    assert finding.detail.startswith('5, the first ')


def test_links_to_nothing_are_told_one_by_one(classes):
    (classes / 'train/cat/gone.jpg').symlink_to('/nowhere/gone.jpg')
    (classes / 'train/cat/.#lock').symlink_to('someone@somewhere')  # of an editor
    links, strays = check(recognise(classes), workers=0).findings
    assert (links.kind, links.harmful) == ('broken-link', True)
    assert links.path.endswith('cat/gone.jpg') and '/nowhere/gone.jpg' in links.detail
    assert strays.kind == 'passed-over' and strays.detail.startswith('1,')


def test_links_to_class_folders_are_followed(classes, tmp_path):
    subset = tmp_path / 'subset'
    for split in ('train', 'val'):
        (subset / split).mkdir(parents=True)
        for name in ('cat', 'dog'):
            (subset / split / name).symlink_to(classes / split / name)
    report = check(recognise(subset), workers=0)
    assert (report.images, report.findings) == (8, ())


def test_formats_that_are_not_read_are_harmful_and_others_are_images(classes):
    for level, name in ((10, 'cat/2.webp'), (90, 'dog/2.TIFF')):
        Image.fromarray(np.full((9, 9, 3), level, np.uint8)).save(classes / 'train' / name)
    assert found(classes) == []
    (classes / 'train/cat/3.HEIC').write_bytes(b'x')
    assert found(classes) == [('unread-format', 'train/cat/3.HEIC')]


def test_without_labels_all_images_count(classes):
    (classes / 'train' / 'loose.jpg').write_bytes(odd.encoded(99))
    source = ClassFolders(classes / 'train', 'train', labelled=False)
    assert len(source.images()) == 5
    assert source.label(source.images()[0]) is None


def test_a_list_of_images(classes):
    (classes / 'val.txt').write_text('val/cat/0.jpg 0\nval/dog/no such.jpg 1\n')
    source = ImageList(classes / 'val.txt', classes, 'val', labelled=True)
    report = check([source], workers=0)
    assert [(f.kind, f.path) for f in report.findings] == [
        ('missing-image', str(classes / 'val/dog/no such.jpg'))
    ]
    (classes / 'val.txt').write_text('cat\n')
    with pytest.raises(DataError, match=r'val\.txt, line 1: expected a path and a label'):
        ImageList(classes / 'val.txt', classes, 'val', labelled=True)


# Masks --------------------------------------------------------------------------------------------


def test_good_masks_have_no_findings(masks):
    assert found(masks, Labels(3)) == []


def test_every_odd_mask_is_found(masks):
    (masks / 'annotations/train/0.png').unlink()
    (masks / 'images/val/1.jpg').unlink()
    Image.fromarray(np.zeros((40, 59), np.uint8)).save(masks / 'annotations/train/1.png')
    assert found(masks, Labels(2)) == [
        ('size-mismatch', 'images/train/1.jpg'), ('missing-mask', 'annotations/train/0.png'),
        ('stray-mask', 'annotations/val/1.png'), ('label-range', 'annotations/val/0.png'),
    ]  # fmt: skip


def test_folders_without_images_or_masks(tmp_path):
    (tmp_path / 'images').mkdir()
    with pytest.raises(DataError, match=r'no folder .*masks'):
        ImageMasks(tmp_path / 'images', tmp_path / 'masks', 'train')
    (tmp_path / 'masks').mkdir()
    with pytest.raises(DataError, match='images has no images'):
        ImageMasks(tmp_path / 'images', tmp_path / 'masks', 'train')


# The same pixels twice ----------------------------------------------------------------------------


def test_pixels_of_training_in_validation(classes):
    shutil.copy(classes / 'train/cat/0.jpg', classes / 'val/cat/copy.jpg')
    assert found(classes) == [('leakage', 'val/cat/copy.jpg')]


def test_the_same_pixels_in_two_classes_and_twice_in_one(classes):
    shutil.copy(classes / 'train/cat/0.jpg', classes / 'train/dog/copy.jpg')
    shutil.copy(classes / 'train/cat/1.jpg', classes / 'train/cat/copy.jpg')
    assert found(classes) == [
        ('conflicting-labels', 'train/dog/copy.jpg'), ('duplicate', 'train/cat/copy.jpg'),
    ]  # fmt: skip


# Layouts ------------------------------------------------------------------------------------------


def test_other_layouts(classes, tmp_path_factory):
    (single,) = recognise(classes / 'train')
    assert single.classes == ('cat', 'dog')
    empty = tmp_path_factory.mktemp('empty')
    with pytest.raises(DataError, match='laid out as none of: '):
        recognise(empty)
    with pytest.raises(DataError, match='no folder'):
        recognise(empty / 'none')
    content = dict(images=[], annotations=[], categories=[])
    (empty / 'annotations').mkdir()
    (empty / 'train2017').mkdir()
    (empty / 'annotations' / 'instances_train2017.json').write_text(json.dumps(content))
    (coco,) = recognise(empty)
    assert coco.split == 'train2017'


# The report ---------------------------------------------------------------------------------------


@pytest.fixture
def report(classes):
    for number in range(5):
        (classes / 'val' / 'cat' / f'bad{number}.jpg').write_bytes(b'')
    (classes / 'val' / 'cat' / 'grey.jpg').write_bytes(odd.encoded(50, mode='CMYK'))
    return check(recognise(classes), workers=0)


def test_text_is_grouped_and_counted(report, classes):
    text = report.text(examples=2)
    assert f'looked at train: {classes}/train\n' in text
    assert 'HARM  5  files of zero bytes  [empty-file]\n' in text
    assert 'bad1.jpg\n      and 3 more\n      to do: fetch the file again, or remove it' in text
    assert 'bad2.jpg' not in text
    assert 'note  1  CMYK images' in text
    assert text.splitlines()[-1].startswith('14 images in ')
    assert text.endswith('5 harmful, 1 worth knowing')


def test_plain_values_have_every_finding(report):
    plain = json.loads(json.dumps(report.plain()))
    assert plain['counts'] == {'empty-file': 5, 'cmyk': 1}
    assert (plain['images'], plain['harmful'], len(plain['findings'])) == (14, 5, 6)
    assert plain['same_pixels_by'] == 'BLAKE2b-128 of the decoded pixels'


def test_the_fix_list_has_one_line_for_each_bad_file(report):
    lines = [json.loads(line) for line in report.fix_list().splitlines()]
    assert len(lines) == 5
    assert lines[0]['path'].endswith('bad0.jpg')
    assert lines[0]['problems'] == ['empty-file']
    assert lines[0]['to_do'] == ['fetch the file again, or remove it']


# Processes ----------------------------------------------------------------------------------------


def test_any_number_of_processes_finds_the_same(classes):
    (classes / 'val/cat/0.jpg').write_bytes(odd.encoded()[:-100])
    told = []
    one = check(recognise(classes), workers=0)
    two = check(recognise(classes), workers=2, progress=lambda *done: told.append(done))
    assert one.findings == two.findings
    assert one.harmful == 1
    assert told[-1] == (8, 8)


class Deadly(Labels):
    """Ends the process that reads a mask with it, as a hole in a decoder might."""

    def strange(self, found: list[int]) -> list[int]:
        os._exit(1)


def test_a_file_that_ends_its_process_is_named_and_the_others_are_read(masks):
    train, val = recognise(masks, Labels(3))
    train.labels = Deadly(3)
    report = check([train, val], workers=1)
    assert [(f.kind, os.path.relpath(f.path, masks)) for f in report.findings] == [
        ('crashes-decoder', 'annotations/train/0.png'),
        ('crashes-decoder', 'annotations/train/1.png'),
    ]


def test_names_of_files_cannot_forge_a_line():
    forged = 'a\x1b[2J\nHARM  9  forged'
    found = tuple(Finding('truncated', forged, forged) for _ in range(2))
    text = Report((f'train: {forged}',), 2, 0, found, 1.0, 1).text()
    assert '\x1b' not in text
    assert not [line for line in text.splitlines() if line.startswith('HARM  9')]
