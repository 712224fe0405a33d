"""Data of one's own in the place of a config's, and the weights of other data by the same name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mmengine.registry import DATASETS, DefaultScope

from g2sd_mm import register_all
from g2sd_mm.config.load import load_config
from g2sd_mm.data_layouts import Choices
from g2sd_mm.data_layouts.copies import original
from g2sd_mm.errors import DataError, UserError
from g2sd_mm.image_files import files_below
from g2sd_mm.runs.own_data import find_source, own_data_options
from g2sd_mm.runs.prepare import fit_workers
from g2sd_mm.runs.work_dir import refuse_other_data

from ..helpers import exports
from ..helpers.small_coco import write_split
from ..helpers.toys import image_folder, words


@pytest.fixture
def fruit(tmp_path):
    for split in ('train', 'val'):
        image_folder(tmp_path / 'fruit' / split, classes=3, each=2, size=8)
    return str(tmp_path / 'fruit')


@pytest.mark.parametrize('config', ['imagenet/vitb_cls.py', 'shapes/vits_scratch_cls.py'])
def test_class_folders_take_the_place_of_a_configs_data(fruit, config):
    cfg = load_config(f'configs/{config}', own_data_options(f'configs/{config}', fruit))
    assert cfg.train_dataloader.dataset.dataset.data_root == f'{fruit}/train'
    assert cfg.val_dataloader.dataset.data_root == f'{fruit}/val'
    assert cfg.num_classes == cfg.model.head.num_classes == 3 and not cfg.get('shapes')


def test_without_labels_images_of_any_layout_do(tmp_path, fruit):
    config = 'configs/imagenet/g2sd_vits_generic.py'

    def root(folder):
        cfg = load_config(config, own_data_options(config, str(folder)))
        return cfg.train_dataloader.dataset.dataset.data_root

    assert root(fruit) == f'{fruit}/train'
    for split in ('train', 'val'):
        (tmp_path / 'masks' / 'images' / split).mkdir(parents=True)
        (tmp_path / 'masks' / 'annotations' / split).mkdir(parents=True)
    assert root(tmp_path / 'masks') == f'{tmp_path}/masks/images/train'
    (tmp_path / 'flat').mkdir()
    (tmp_path / 'flat' / 'a.jpg').touch()
    assert root(tmp_path / 'flat') == f'{tmp_path}/flat'


@pytest.mark.parametrize('share', [None, 0.25])
def test_without_labels_neither_masks_nor_held_out_images_are_learnt_from(tmp_path, share):
    root, config = tmp_path / 'fruit', 'configs/shapes/vitb_mae.py'
    exports.masks(root, exports.scenes({'all': 4}), 'labels')
    options = own_data_options(config, str(root), Choices(share))
    folder = load_config(config, options).train_dataloader.dataset.dataset.data_root
    found = [Path(original(path)) for path in files_below(folder)]
    assert len(found) == (3 if share else 4)
    assert all(path.parent == root / 'images' for path in found)


def test_what_needs_more_than_a_folder_is_refused(fruit):
    config = 'configs/coco/vitb_maskrcnn.py'
    with pytest.raises(UserError, match=words(f'--data-root {fruit}', config, 'laid out for cls')):
        own_data_options(config, fruit)


def test_255_as_a_number_beside_background_alone_is_refused(tmp_path):
    root = exports.masks(tmp_path / 'fruit', exports.scenes({'all': 4}), 'labels')
    choices = Choices(val_share=0.25, read_as={'masks': 'numbers'})
    with pytest.raises(DataError, match=words('annotations', '255', '--read-as masks=binary')):
        find_source(root, choices)


def test_weights_of_other_data_are_not_replaced(tmp_path, fruit):
    config = 'configs/shapes/vitb_mae.py'
    cfg = load_config(config, own_data_options(config, fruit))
    cfg.work_dir = str(tmp_path / 'runs' / 'vitb_mae')
    refuse_other_data(cfg)  # nothing is there
    folder = tmp_path / 'runs' / 'vitb_mae'
    folder.mkdir(parents=True)
    (folder / 'weights.pth').touch()

    def left(data_root):
        origin = {'dataset': {'type': 'CustomDataset', 'data_root': data_root}}
        record = {'format': 1, 'network': None, 'origin': origin}
        (folder / 'weights.json').write_text(json.dumps(record))

    left(f'{fruit}/train')
    refuse_other_data(cfg)
    left('/data/cars/train')
    with pytest.raises(UserError, match=words('/data/cars/train', f'{fruit}/train', '--runs',
                                              '--work-dir')):  # fmt: skip
        refuse_other_data(cfg)


def test_workers_that_were_asked_for_stay(monkeypatch):
    monkeypatch.setattr('g2sd_mm.runs.prepare.enough_workers', lambda number: min(number, 2))
    cfg = load_config('configs/imagenet/vitb_cls.py')
    fit_workers(cfg)
    assert cfg.train_dataloader.num_workers == 2
    asked = {'train_dataloader.num_workers': 5}
    cfg = load_config('configs/imagenet/vitb_cls.py', asked)
    fit_workers(cfg, asked)
    assert cfg.train_dataloader.num_workers == 5 and cfg.val_dataloader.num_workers <= 2


STOCK = """
default_scope = '{scope}'
model = dict(type='{model}', backbone=dict(type='ResNet', depth=18), {head})
train_dataloader = dict(batch_size=2, dataset={train})
val_dataloader = dict(batch_size=2, dataset={val})
test_dataloader = val_dataloader
val_evaluator = {metric}
test_evaluator = val_evaluator
"""
HEADS = {
    'mmpretrain': dict(model='ImageClassifier', head='head=dict(num_classes=1000)',
                       metric="dict(type='Accuracy', topk=(1, 5))"),
    'mmdet': dict(model='FasterRCNN', head='roi_head=dict(bbox_head=dict(num_classes=20))'),
    'mmseg': dict(model='EncoderDecoder', head='decode_head=dict(num_classes=21)',
                  metric="dict(type='IoUMetric')"),
}  # fmt: skip


def on_stock(folder: Path, root: Path, scope: str, train: str, val: str, **more: str):
    """The data sets of a stock config that is told to read a folder of one's own."""
    config = folder / 'stock.py'
    config.write_text(STOCK.format(**{**HEADS[scope], **more}, scope=scope, train=train, val=val))
    register_all()
    cfg = load_config(str(config), own_data_options(str(config), str(root)))
    sets = [cfg[f'{split}_dataloader'].dataset for split in ('train', 'val', 'test')]
    return cfg, [DATASETS.build({'_scope_': scope, **one}) for one in sets]


@pytest.mark.parametrize('kind', [
    "type='ImageNet', data_root='data/imagenet', split='{}'",
    "type='CUB', data_root='data/CUB_200_2011', split='{}'",
    "type='mmpretrain.CustomDataset', data_root='data/x', data_prefix='{}', ann_file='{}.txt'",
])  # fmt: skip
def test_stock_classifiers_read_class_folders(tmp_path, fruit, kind):
    steps = ", pipeline=[dict(type='LoadImageFromFile')]"
    train, val = (f'dict({kind.format(split, split)}{steps})' for split in ('train', 'test'))
    cfg, sets = on_stock(tmp_path, Path(fruit), 'mmpretrain', train, val)
    assert [len(one) for one in sets] == [6, 6, 6]
    assert len(sets[0].CLASSES) == cfg.model.head.num_classes == 3
    folders = [Path(one.get_data_info(0)['img_path']).parents[1].name for one in sets]
    assert folders == ['train', 'val', 'val'] and len(sets[0].pipeline.transforms) == 1


def test_stock_pre_training_reads_a_folder_of_images(tmp_path, fruit):
    config = tmp_path / 'stock.py'
    config.write_text("train_dataloader = dict(dataset=dict(type='ImageNet', split='train', "
                      "data_root='data/imagenet', pipeline=[]))\n"
                      "default_scope = 'mmpretrain'\nmodel = dict(type='MAE')\n")
    cfg = load_config(str(config), own_data_options(str(config), fruit))
    dataset = DATASETS.build({'_scope_': 'mmpretrain', **cfg.train_dataloader.dataset})
    assert len(dataset) == 6 and 'gt_label' not in dataset.get_data_info(0)


def test_a_config_without_data_gets_none(tmp_path, fruit):
    (tmp_path / 'headless.py').write_text("model = dict(type='ImageClassifier')")
    assert own_data_options(str(tmp_path / 'headless.py'), str(fruit)) == {}


def test_a_classifier_without_validation_has_its_labels(tmp_path, fruit):
    train = "dict(type='CustomDataset', data_root='data/x', pipeline=[])"
    config = tmp_path / 'stock.py'
    config.write_text(STOCK.format(**HEADS['mmpretrain'], scope='mmpretrain', train=train, val='')
                      .partition('val_dataloader')[0])  # fmt: skip
    cfg = load_config(str(config), own_data_options(str(config), fruit))
    dataset = DATASETS.build({'_scope_': 'mmpretrain', **cfg.train_dataloader.dataset})
    assert {entry['gt_label'] for entry in map(dataset.get_data_info, range(6))} == {0, 1, 2}


@pytest.mark.parametrize(('kind', 'metric'), [
    ("type='VOCDataset', ann_file='VOC2007/ImageSets/Main/{0}.txt'", "dict(type='VOCMetric')"),
    ("type='CityscapesDataset', ann_file='{0}.json'", "[dict(type='CocoMetric'), dict(type='X')]"),
    ("type='CocoDataset', ann_file='{0}.json'", "dict(type='CocoMetric', metric='bbox', x=1)"),
])  # fmt: skip
def test_stock_detectors_read_coco_files(tmp_path, kind, metric):
    for split in ('train', 'val'):
        write_split(tmp_path / 'own', split)
    of = ("dict(" + kind + ", data_root='data/VOCdevkit', test_mode={1}, filter_cfg=dict("
          "min_size=8), pipeline=[dict(type='LoadAnnotations', with_bbox=True)])")  # fmt: skip
    train = f"dict(type='RepeatDataset', times=2, dataset={of.format('train', False)})"
    val = of.format('val', True)
    cfg, sets = on_stock(tmp_path, tmp_path / 'own', 'mmdet', train, val, metric=metric)
    assert [len(one) for one in sets] == [8, 4, 4] and sets[1].test_mode
    assert sets[1].filter_cfg == dict(min_size=8) and len(sets[1].pipeline.transforms) == 1
    assert cfg.model.roi_head.bbox_head.num_classes == len(sets[1].metainfo['classes']) == 2
    judged = cfg.val_evaluator
    assert judged.type == 'CocoMetric' and 'bbox' in judged.metric
    assert ('x=1' in metric) == ('x' in judged)  # its own CocoMetric keeps what it was told
    assert judged.ann_file == str(tmp_path / 'own/annotations/instances_val.json')


def test_stock_segmentors_forget_lists_and_endings_of_their_data(tmp_path):
    root = tmp_path / 'scenes'
    exports.masks(root, exports.scenes({'train': 3, 'val': 2}), 'roboflow')
    one = ("dict(type='{}', data_root='data/VOC2012', ann_file='ImageSets/Segmentation/val.txt', "
           "data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'), "
           "seg_map_suffix='_x.png', pipeline=[])")
    voc, base = one.format('PascalVOCDataset'), one.format('BaseSegDataset')
    joined = f"dict(type='ConcatDataset', datasets=[{voc}, {voc}])"
    _, sets = on_stock(tmp_path, root, 'mmseg', joined, base)
    assert [len(each) for each in sets] == [3, 2, 2]
    assert all(Path(each.get_data_info(0)['seg_map_path']).is_file() for each in sets)


def test_stock_segmentors_of_ade20k_do_not_take_the_first_class_away(tmp_path):
    root = tmp_path / 'scenes'
    exports.masks(root, exports.scenes({'train': 2, 'val': 2}), 'roboflow')
    steps = "[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', reduce_zero_label=True)]"
    one = f"dict(type='ADE20KDataset', data_root='data/ade', pipeline={steps})"
    cfg, sets = on_stock(tmp_path, root, 'mmseg', one, one)
    assert cfg.model.decode_head.num_classes == 3
    with DefaultScope.overwrite_default_scope('mmseg'):
        assert set(sets[0][1]['gt_seg_map'].flat) == {0, 1, 2}


def test_a_number_of_classes_beside_the_model_follows_the_folder(tmp_path):
    for split in ('train', 'val'):
        write_split(tmp_path / 'own', split)
    one = "dict(type='CocoDataset', ann_file='x.json', pipeline=[])"
    metric = "dict(type='CocoMetric')\nnum_classes = 80"  # as Mask2Former's has it
    cfg, _ = on_stock(tmp_path, tmp_path / 'own', 'mmdet', one, one, metric=metric)
    assert cfg.num_classes == cfg.model.roi_head.bbox_head.num_classes == 2


def test_a_step_of_a_pipeline_can_be_set_beside_the_folder(tmp_path):
    root = tmp_path / 'scenes'
    exports.masks(root, exports.scenes({'train': 1, 'val': 1}), 'roboflow')
    crop = 'train_dataloader.dataset.dataset.pipeline.4.crop_size'
    path = 'configs/ade20k/vits_mae_upernet.py'
    cfg = load_config(path, own_data_options(path, str(root)) | {crop: (64, 64)})
    step = cfg.train_dataloader.dataset.dataset.pipeline[4]
    assert (step.type, step.crop_size, step.cat_max_ratio) == ('RandomCrop', (64, 64), 0.75)
