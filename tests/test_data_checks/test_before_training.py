"""A run that would learn from nothing is stopped before its first step; the checker names it."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine import fileio
from mmengine.config import Config
from PIL import Image

from g2sd_mm.cli.check_data import check_data
from g2sd_mm.config.load import load_config
from g2sd_mm.data_checks import before_training
from g2sd_mm.data_checks.before_training import check_training_data
from g2sd_mm.datasets.packed import pack_folder
from g2sd_mm.errors import DataError
from g2sd_mm.runs.train import train

from ..helpers.small_coco import CLASSES, with_values, without, write_split
from ..helpers.toys import ROOT, image_folder, words

DETECTION = f'''
_base_ = '{ROOT}/configs/shapes/g2sd_vits_maskrcnn_nosd.py'
shapes = None
classes = {CLASSES}
train_dataloader = dict(num_workers=0, persistent_workers=False,
                        dataset=dict(dataset=dict(data_root='ROOT/')))
val_dataloader = dict(dataset=dict(data_root='ROOT/'))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='ROOT/annotations/instances_val.json')
test_evaluator = val_evaluator
'''
SEGMENTATION = f'''
_base_ = '{ROOT}/configs/shapes/g2sd_vits_upernet_nosd.py'
shapes = None
classes = ('background', 'object')
train_dataloader = dict(dataset=dict(dataset=dict(
    data_root='ROOT', data_prefix=dict(img_path='images', seg_map_path='masks'))))
val_dataloader = dict(dataset=dict(
    data_root='ROOT', data_prefix=dict(img_path='images', seg_map_path='masks')))
test_dataloader = val_dataloader
'''
CLASSIFICATION = f'''
_base_ = '{ROOT}/configs/shapes/vits_scratch_cls.py'
shapes = None
num_classes = NUMBER
train_dataloader = dict(dataset=dict(dataset=dict(data_root='ROOT/train')))
val_dataloader = dict(dataset=dict(data_root='ROOT/val'))
test_dataloader = val_dataloader
'''


def written(root: Path, text: str, number: int = 2) -> str:
    file = root / 'config.py'
    file.write_text(text.replace('ROOT', str(root)).replace('NUMBER', str(number)))
    return str(file)


def objects(root: Path, train=None, val=None) -> str:
    write_split(root, 'train', edit=train)
    write_split(root, 'val', edit=val, seed=1)
    return written(root, DETECTION)


def masks(root: Path, value: int = 1, number: int = 4) -> str:
    for folder in ('images', 'masks'):
        (root / folder).mkdir()
    for i in range(number):
        mask = np.zeros((40, 40), np.uint8)
        mask[5 * i : 5 * i + 10, :10] = value
        cv2.imwrite(str(root / 'images' / f'{i}.png'), mask)
        cv2.imwrite(str(root / 'masks' / f'{i}.png'), mask)
    return written(root, SEGMENTATION)


def notes(config: str, **options) -> list[str]:
    cfg = load_config(config, options)
    return check_training_data(cfg)


def harmful(config: str, **options) -> list[str]:
    report = check_data([config], workers=0, options=options or None)
    return sorted({finding.kind for finding in report.findings if finding.harmful})


# Detection ----------------------------------------------------------------------------------------


def test_good_data_are_looked_at_in_silence(tmp_path):
    config = objects(tmp_path)
    assert notes(config) == [] and harmful(config) == []


@pytest.mark.parametrize(
    ('edit', 'kind'),
    [(with_values(iscrowd=1), 'all-crowd'),
     (lambda content: content.update(annotations=[]), 'nothing-to-learn')],
)  # fmt: skip
def test_training_on_no_object_is_refused_and_the_checker_names_it(tmp_path, edit, kind):
    config = objects(tmp_path, train=edit)
    file = str(tmp_path / 'annotations' / 'instances_train.json')
    with pytest.raises(DataError, match=words(file)):
        notes(config)
    assert kind in harmful(config)


def test_boxes_alone_are_refused_where_masks_are_insisted_on(tmp_path):
    config = objects(tmp_path, train=without('segmentation'))
    file = str(tmp_path / 'annotations' / 'instances_train.json')
    with pytest.raises(DataError, match=words(file, 'boxes_only=False')):
        notes(config, boxes_only=False)
    assert 'no-masks' in harmful(config, boxes_only=False)


def test_boxes_without_masks_train_where_no_masks_are_asked_for(tmp_path):
    """A config of boxes, as it is written by hand."""
    config = objects(tmp_path, without('segmentation'), without('segmentation'))
    options = {
        'train_dataloader.dataset.dataset.pipeline.2.with_mask': False,
        'val_dataloader.dataset.pipeline.3.with_mask': False,
        'test_dataloader.dataset.pipeline.3.with_mask': False,
        'val_evaluator.metric': 'bbox',
        'test_evaluator.metric': 'bbox',
    }
    assert notes(config, **options) == [] and harmful(config, **options) == []


@pytest.mark.parametrize(
    ('edit', 'kind'),
    [(without('segmentation'), 'lacking-mask'), (with_values(iscrowd=1), 'nothing-to-evaluate')],
)
def test_validation_on_nothing_is_refused(tmp_path, edit, kind):
    config = objects(tmp_path, val=edit)
    file = str(tmp_path / 'annotations' / 'instances_val.json')
    with pytest.raises(DataError, match=words(file)):
        notes(config)
    assert kind in harmful(config)


def test_masks_that_only_the_metric_needs_are_missed_too(tmp_path):
    config = objects(tmp_path, val=without('segmentation'))
    options = {
        f'{loader}_dataloader.dataset.pipeline.3.with_mask': False for loader in ('val', 'test')
    }
    with pytest.raises(DataError, match=words('instances_val.json', '8 of 8 objects')):
        notes(config, **options)
    assert 'lacking-mask' in harmful(config, **options)


def test_classes_without_objects_are_a_line(tmp_path):
    def berries(content):
        content['annotations'] = [a for a in content['annotations'] if a['category_id'] == 2]

    training, validation = notes(objects(tmp_path, berries, berries))
    assert 'instances_train.json' in training and "'apple'" in training
    assert 'instances_val.json' in validation and "'apple'" in validation


def test_run_lengths_where_polygons_are_kept_are_drawn(tmp_path):
    coded = with_values(segmentation=dict(size=[64, 64], counts=[100, 50, 64 * 64 - 150]))
    config = objects(tmp_path, coded, coded)
    options = {'train_dataloader.dataset.dataset.pipeline.2.poly2mask': False}
    assert harmful(config) == harmful(config, **options) == []


def larger(content):
    for image in content['images']:
        image.update(width=128, height=96)


@pytest.mark.parametrize('split', ['train', 'val'])
def test_images_of_another_size_than_listed_stop_a_run_and_the_checker_names_them(tmp_path, split):
    config = objects(tmp_path, **{split: larger})
    first = str(tmp_path / split / '0.png')
    message = words(first, '128x96 px', '64x64 px', '4 of 4', f'instances_{split}.json')
    with pytest.raises(DataError, match=message):
        notes(config)
    assert harmful(config) == ['size-mismatch']
    colour = {f'{place}.pipeline.0.color_type': 'unchanged' for place in (
        'train_dataloader.dataset.dataset', 'val_dataloader.dataset')}  # fmt: skip
    assert notes(config, **colour) == []  # nobody knows how those are turned


def test_sizes_of_packed_images_are_looked_at_too(tmp_path):
    pytest.importorskip('lmdb')
    (tmp_path / 'coco').mkdir()
    config = objects(tmp_path / 'coco', train=larger)
    pack_folder(tmp_path / 'coco', tmp_path / 'coco.lmdb')
    root = f'packed://{tmp_path}/coco.lmdb/'
    with pytest.raises(DataError, match=words(f'{root}train/0.png', '128x96 px', '4 of 4')):
        notes(config, **{'train_dataloader.dataset.dataset.data_root': root})


def test_photographs_that_are_annotated_as_stored_stop_a_run(tmp_path):
    config = objects(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    for file in (tmp_path / 'train').iterdir():
        Image.new('RGB', (80, 64)).save(file, exif=exif)
    listing = tmp_path / 'annotations' / 'instances_train.json'
    content = json.loads(listing.read_text())
    for image in content['images']:
        image['width'] = 80
    listing.write_text(json.dumps(content))
    with pytest.raises(DataError, match=words('0.png', '80x64 px', '64x80 px', 'EXIF tag')):
        notes(config)
    assert harmful(config) == ['rotated-annotated']


def test_one_image_of_another_size_among_many_is_left_to_training(tmp_path):
    def first(number):
        return lambda content: [image.update(width=128) for image in content['images'][:number]]

    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        for split in ('train', 'val'):
            write_split(tmp_path / str(number), split, number=12, edit=first(number))
    assert notes(written(tmp_path / '1', DETECTION)) == []
    with pytest.raises(DataError, match=words('0.png', '2 of 12')):
        notes(written(tmp_path / '2', DETECTION))
    for i in range(3):
        (tmp_path / '1' / 'train' / f'{i}.png').unlink()  # training names and counts it
    assert notes(written(tmp_path / '1', DETECTION)) == []


def test_several_data_sets_are_looked_at_together(tmp_path):
    for category in (1, 2):

        def alone(content, category=category):
            content['annotations'] = [
                a for a in content['annotations'] if a['category_id'] == category
            ]

        (tmp_path / str(category)).mkdir()
        objects(tmp_path / str(category), alone)
    cfg = load_config(str(tmp_path / '1' / 'config.py'))
    first = cfg.train_dataloader.dataset.dataset
    second = {**first, 'data_root': f'{tmp_path}/2/'}
    cfg.train_dataloader.dataset.dataset = dict(
        type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[first, second])
    )
    assert check_training_data(cfg) == []


# Segmentation -------------------------------------------------------------------------------------


def test_masks_of_0_and_255_are_refused_and_the_fix_works(tmp_path):
    config = masks(tmp_path, value=255)
    with pytest.raises(DataError, match=words(f'{tmp_path}/masks', "'background'", '255')):
        notes(config)
    assert harmful(config) == ['one-class']
    for file in (tmp_path / 'masks').iterdir():
        mask = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(file), np.where(mask == 255, 1, mask))
    assert notes(config) == [] and harmful(config) == []


def test_an_image_suffix_that_is_not_there_is_told(tmp_path):
    config = masks(tmp_path)
    options = {
        f'{place}.img_suffix': '.jpg'
        for place in ('train_dataloader.dataset.dataset', 'val_dataloader.dataset',
                      'test_dataloader.dataset')
    }  # fmt: skip
    for look in (notes, harmful):
        with pytest.raises(DataError, match=words('.jpg', '4 .png', 'img_suffix')):
            look(config, **options)


def test_masks_of_another_ending_are_told(tmp_path):
    config = masks(tmp_path)
    for file in (tmp_path / 'masks').iterdir():
        file.rename(file.with_suffix('.bmp'))
    with pytest.raises(DataError, match=words(f'{tmp_path}/masks', '.bmp', 'seg_map_suffix')):
        notes(config)


def test_many_masks_are_opened_until_every_class_is_seen(tmp_path, monkeypatch):
    config = masks(tmp_path, number=6)
    for i in range(5):
        cv2.imwrite(str(tmp_path / 'masks' / f'{i}.png'), np.zeros((40, 40), np.uint8))
    opened = []
    read = fileio.get
    monkeypatch.setattr(fileio, 'get', lambda path: opened.append(path) or read(path))
    assert notes(config) == []  # the last one shows the object
    assert len(opened) == 12
    shutil.copy(tmp_path / 'masks' / '5.png', tmp_path / 'masks' / '0.png')
    opened.clear()
    assert notes(config) == []
    assert len(opened) == 2
    monkeypatch.setattr(before_training, '_LOOKS', 2)
    opened.clear()
    assert notes(config, **{'classes': ['a', 'b', 'c']})[0].count('of 6 masks looked at') == 1
    assert len(opened) < 12


# Classification -----------------------------------------------------------------------------------


def pictures(root: Path, classes: int) -> str:
    for seed, split in enumerate(('train', 'val')):
        image_folder(root / split, classes=classes, each=2, size=64, seed=seed)
    return written(root, CLASSIFICATION, classes)


def test_one_class_folder_is_refused_before_anything_else(tmp_path):
    config = pictures(tmp_path, 1)
    with pytest.raises(DataError, match=words(f'{tmp_path}/train', 'class_0', 'folder')):
        train(config, work_dir=str(tmp_path / 'run'))
    assert not list((tmp_path / 'run').rglob('*.pth'))
    assert harmful(config) == ['one-class']


def test_a_class_without_images_is_a_line_and_two_are_an_error(tmp_path):
    config = pictures(tmp_path, 3)
    shutil.rmtree(tmp_path / 'val' / 'class_1')
    (tmp_path / 'val' / 'class_1').mkdir()
    (note,) = notes(config)
    assert f'{tmp_path}/val' in note and "'class_1'" in note
    for name in ('class_0', 'class_2'):
        for file in (tmp_path / 'train' / name).iterdir():
            file.unlink()
    with pytest.raises(DataError, match=words(f'{tmp_path}/train', 'class_1')):
        notes(config)
    assert harmful(config) == ['empty-class', 'one-class']


def test_lists_of_images_are_read(tmp_path):
    config = pictures(tmp_path, 2)
    place = 'train_dataloader.dataset.dataset.ann_file'
    (tmp_path / 'list.txt').write_text('class_0/image_0.png 0\nclass_1/image_1.png 0\n')
    with pytest.raises(DataError, match=words('list.txt', 'class 0')):
        notes(config, **{place: str(tmp_path / 'list.txt')})
    (tmp_path / 'list.txt').write_text('class_0/image_0.png 0\nclass_1/image_1.png 1\n')
    assert notes(config, **{place: str(tmp_path / 'list.txt')}) == []


def test_pre_training_needs_no_classes(tmp_path):
    image_folder(tmp_path / 'train', classes=1, each=2)
    place = 'train_dataloader.dataset.dataset.data_root'
    assert notes(str(ROOT / 'configs/shapes/vitb_mae.py'), **{place: str(tmp_path)}) == []


def test_images_smaller_than_the_crop_are_named_by_the_checker(tmp_path):
    config = pictures(tmp_path, 2)
    image_folder(tmp_path / 'other', classes=1, each=1, size=30, seed=5)
    shutil.copy(tmp_path / 'other/class_0/image_0.jpg', tmp_path / 'val/class_0/tiny.jpg')
    assert harmful(config) == [], 'they are enlarged before they are cropped'
    crop = dict(type='CenterCrop', crop_size=56)
    for cut, found in ((crop, ['smaller-than-crop']), ({**crop, 'auto_pad': True}, [])):
        steps = [dict(type='LoadImageFromFile'), cut, dict(type='PackInputs')]
        options = {f'{n}_dataloader.dataset.pipeline': steps for n in ('val', 'test')}
        assert harmful(config, **options) == found


def test_files_with_readers_of_their_own_are_left_to_those(tmp_path):
    """As the stock configs of panoptic data and of LVIS have them."""
    other = {}
    for kind, image in (('CocoPanopticDataset', 'file_name'), ('LVISV1Dataset', 'coco_url')):
        content = dict(
            images=[{'id': 1, 'height': 64, 'width': 64, image: 'train2017/1.jpg'}],
            annotations=[dict(image_id=1, file_name='1.png', segments_info=[])],
            categories=[dict(id=1, name='person')],
        )
        file = tmp_path / f'{kind}.json'
        file.write_text(json.dumps(content))
        dataset = dict(type=kind, ann_file=str(file), data_prefix=dict(img=str(tmp_path)))
        other[kind] = dict(default_scope='mmdet', train_dataloader=dict(dataset=dataset))
    for cfg in other.values():
        assert check_training_data(Config(cfg)) == []


# Cost ---------------------------------------------------------------------------------------------


def test_a_large_file_is_parsed_once_and_quickly(tmp_path, monkeypatch):
    def many(content):
        first = content['annotations']
        content['annotations'] = [
            {**first[i % len(first)], 'id': i + 1} for i in range(20_000)
        ]

    config = objects(tmp_path, train=many)
    parsed = []
    loads = json.loads
    monkeypatch.setattr(json, 'loads', lambda text: parsed.append(len(text)) or loads(text))
    cfg = load_config(config)
    check_training_data(cfg)  # imports the library
    from mmengine.registry import DATASETS, DefaultScope

    parsed.clear()
    started = time.process_time()
    check_training_data(cfg)
    assert time.process_time() - started < 2  # 0.2 s on one core; COCO has 860,000
    with DefaultScope.overwrite_default_scope('mmdet'):
        DATASETS.build(cfg.train_dataloader.dataset)
    assert sorted(parsed) == []  # read from what the first look had kept
