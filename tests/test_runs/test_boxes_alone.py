"""Data without masks: a Mask R-CNN's config trains, evaluates and predicts boxes alone."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import MODELS

from g2sd_mm.cli.browse_data import browse
from g2sd_mm.cli.check_data import check_data
from g2sd_mm.cli.export import export
from g2sd_mm.config.load import load_config
from g2sd_mm.config.parts import plain_model
from g2sd_mm.data_checks.before_training import choose_boxes_or_masks
from g2sd_mm.errors import DataError, UserError
from g2sd_mm.runs.predict import infer
from g2sd_mm.runs.test import evaluate
from g2sd_mm.runs.train import train
from g2sd_mm.runs.verify import verify
from g2sd_mm.students import load_student

from ..helpers.small_coco import CLASSES, with_values, without, write_split
from ..helpers.toys import ROOT, refused, save, words

CONFIG = f'''
_base_ = '{ROOT}/configs/shapes/NAME.py'
shapes = None
classes = {CLASSES}
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False,
                        dataset=dict(dataset=dict(data_root='ROOT/')))
val_dataloader = dict(batch_size=2, dataset=dict(data_root='ROOT/'))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='ROOT/annotations/instances_val.json')
test_evaluator = val_evaluator
model = dict(backbone=dict(init_cfg=None), test_cfg=dict(rcnn=dict(score_thr=0.0)))
train_cfg = dict(max_iters=2, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=1), logger=dict(interval=1))
reliability = dict(dry_run=None)
'''
PLAIN, DISTILLED = 'g2sd_vits_maskrcnn_nosd', 'g2sd_vits_maskrcnn'


def written(root: Path, name: str = PLAIN, train=None, val=None) -> str:
    """A config of the demo on small data whose annotations are edited."""
    if not (root / 'annotations').exists():
        write_split(root, 'train', edit=train)
        write_split(root, 'val', edit=val, seed=1)
    file = root / f'{name}.py'
    file.write_text(CONFIG.replace('ROOT', str(root)).replace('NAME', name))
    return str(file)


def edited(number: int, **values):
    """An edit of the first annotations alone."""

    def edit(content):
        for annotation in content['annotations'][:number]:
            annotation.update(values)

    return edit


def roboflow(content) -> None:
    """As that site exports boxes: a root category, numbers from 0, empty lists for masks."""
    for annotation in content['annotations']:
        annotation['segmentation'] = []
    root = dict(id=0, name='fruit', supercategory='none')
    content['categories'] = [root] + [
        {**category, 'supercategory': 'fruit'} for category in content['categories']
    ]
    content['info'] = dict(description='exported', version='1')


BOXES = pytest.mark.parametrize(
    'edit', [without('segmentation'), with_values(segmentation=[]), with_values(segmentation=None),
             with_values(segmentation=[[]]), roboflow],
)  # fmt: skip


@pytest.fixture(scope='module')
def run(tmp_path_factory) -> SimpleNamespace:
    """A plain run on boxes."""
    root = tmp_path_factory.mktemp('boxes')
    config = written(root, train=without('segmentation'), val=roboflow)
    runner = train(config, work_dir=str(root / 'run'))
    return SimpleNamespace(
        root=root, config=config, folder=root / 'run', runner=runner,
        weights=str(root / 'run' / 'weights.pth'), image=str(root / 'val' / '0.png'),
    )  # fmt: skip


def names(file: Path | str) -> set[str]:
    return set(torch.load(file, weights_only=False)['state_dict'])


def told(folder: Path, text: str) -> list[str]:
    """Warnings of a run's log that have a text."""
    lines = next(folder.glob('*/*.log')).read_text().splitlines()
    return [line for line in lines if 'WARNING' in line and text in line]


# The choice ---------------------------------------------------------------------------------------


@BOXES
def test_the_data_choose(tmp_path, edit):
    cfg = load_config(written(tmp_path, train=edit, val=edit))
    finding = choose_boxes_or_masks(cfg, ('train_dataloader', 'val_dataloader'))
    assert finding.kind == 'boxes-alone' and not finding.harmful
    assert str(tmp_path / 'annotations' / 'instances_train.json') == finding.path
    assert '0 of 8 objects have a mask' in finding.detail
    assert cfg.model.type == 'FasterRCNN' and 'mask_head' not in cfg.model.roi_head
    assert cfg.val_evaluator.metric == cfg.test_evaluator.metric == ['bbox']
    assert cfg.default_hooks.checkpoint.save_best == 'coco/bbox_mAP'
    steps = [s for p in (cfg.train_dataloader.dataset.dataset, cfg.val_dataloader.dataset)
             for s in p.pipeline if s.type == 'LoadAnnotations']  # fmt: skip
    assert len(steps) == 2 and not any(step.with_mask for step in steps)
    assert type(MODELS.build(plain_model(cfg))).__name__ == 'FasterRCNN'


def test_masks_change_nothing(tmp_path):
    cfg = load_config(written(tmp_path))
    before = cfg.pretty_text
    assert choose_boxes_or_masks(cfg, ('train_dataloader', 'val_dataloader')) is None
    assert cfg.pretty_text == before


@pytest.mark.parametrize('values', [{'segmentation': []}, {'segmentation': None}])
def test_some_masks_stop_with_the_counts_and_each_way_out_works(tmp_path, values):
    config = written(tmp_path, train=edited(3, **values))
    file = str(tmp_path / 'annotations' / 'instances_train.json')
    with pytest.raises(DataError, match=words(file, '5 of 8', '3 have none', 'boxes_only=True')):
        train(config, work_dir=str(tmp_path / 'run'))
    found = {f.kind: f for f in check_data([config], workers=0).findings}
    assert found['mixed-masks'].harmful and '5 of 8' in found['mixed-masks'].detail
    loaders = ('train_dataloader', 'val_dataloader')
    cfg = load_config(config, {'boxes_only': True})
    assert choose_boxes_or_masks(cfg, loaders).kind == 'boxes-alone'
    assert cfg.model.type == 'FasterRCNN'
    cfg = load_config(config, {'boxes_only': False})
    assert choose_boxes_or_masks(cfg, loaders) is None and cfg.model.type == 'MaskRCNN'


def test_a_broken_polygon_is_no_box_without_a_mask(tmp_path):
    cfg = load_config(written(tmp_path, train=edited(1, segmentation=[[1, 2, 3, 4]])))
    assert choose_boxes_or_masks(cfg, ('train_dataloader',)) is None


def test_training_and_validation_that_differ(tmp_path):
    """Boxes to learn from decide; masks to learn from need masks to be judged by."""
    boxes = written(tmp_path / 'a', train=without('segmentation'))
    cfg = load_config(boxes)
    assert choose_boxes_or_masks(cfg, ('train_dataloader', 'val_dataloader'))
    assert cfg.val_evaluator.metric == ['bbox']
    masks = written(tmp_path / 'b', val=without('segmentation'))
    with pytest.raises(DataError, match=words('instances_val.json', '8 of 8', 'boxes_only=True')):
        train(masks, work_dir=str(tmp_path / 'run'))


def test_several_training_sets_are_counted_together(tmp_path):
    configs = [written(tmp_path / 'a'), written(tmp_path / 'b', train=without('segmentation'))]
    cfg, other = map(load_config, configs)
    parts = [c.train_dataloader.dataset.dataset for c in (cfg, other)]
    cfg.train_dataloader.dataset.dataset = dict(type='ConcatDataset', datasets=parts)
    finding = choose_boxes_or_masks(cfg, ('train_dataloader',))
    assert finding.kind == 'mixed-masks' and '8 of 16 objects' in finding.detail
    assert all(str(tmp_path / name) in finding.path for name in 'ab')


@pytest.mark.parametrize(
    'change',
    [{'model.roi_head.type': 'PointRendRoIHead'}, {'model.mask_head': {'type': 'SOLOHead'}},
     {'model.bbox_head': {'type': 'RTMDetInsSepBNHead'}}],
)  # fmt: skip
def test_a_model_of_masks_alone_is_refused(tmp_path, change):
    config = written(tmp_path, train=without('segmentation'))
    cfg = load_config(config)
    cfg.merge_from_dict(change)
    assert choose_boxes_or_masks(cfg, ('train_dataloader',)) is None, 'the next check stops it'
    cfg.boxes_only = True
    with refused('boxes', 'masks'):
        choose_boxes_or_masks(cfg, ('train_dataloader',))


def test_an_option_that_is_neither_is_refused(tmp_path):
    with refused('boxes_only'):
        choose_boxes_or_masks(load_config(written(tmp_path), {'boxes_only': 'no'}), ())


# A plain run --------------------------------------------------------------------------------------


def test_it_trains_and_is_judged_by_boxes_alone(run):
    log = next(run.folder.glob('*/*.log')).read_text()
    assert len(told(run.folder, 'boxes alone are learnt')) == 1
    assert 'loss_mask' not in log and 'segm' not in log.split('Iter(val)')[-1]
    assert 'coco/bbox_mAP' in log
    losses = [float(number) for number in re.findall(r'loss_rpn_bbox: ([\d.]+)', log)]
    assert losses and all(loss > 0 for loss in losses), 'boxes are learnt'
    assert not any('mask_head' in name for name in names(run.weights))


def test_its_weights_are_tested_inferred_verified_and_exported(run, tmp_path):
    metrics = evaluate(run.config, run.weights, work_dir=str(tmp_path))
    assert {name.split('_')[0] for name in metrics} == {'coco/bbox'}
    (prediction,) = infer(run.config, run.weights, [run.image], str(tmp_path / 'out'), threshold=0)
    assert prediction['instances'] and 'mask' not in prediction['instances'][0]
    assert not [v for v in verify(run.config, run.weights) if v.role == 'weights' and v.problem]
    student = load_student(run.folder)  # from what is written beside the weights
    assert type(student.model).__name__ == 'FasterRCNN'
    again = student.plain(student.sample(run.image), 0.0)
    assert again['instances'] == prediction['instances']
    files = export(run.weights, to='torchscript', out=str(tmp_path / 'student.ts'))
    assert all(file.is_file() for file in files)


def test_the_boxes_of_tta_need_no_masks(run, tmp_path):
    options = {
        'tta_model': dict(type='InstanceTTAModel',
                          tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=10)),
        'tta_pipeline': [
            dict(type='LoadImageFromFile'),
            dict(type='TestTimeAug', transforms=[
                [dict(type='Resize', scale=(128, 128), keep_ratio=True)],
                [dict(type='RandomFlip', prob=p) for p in (0.0, 1.0)],
                [dict(type='LoadAnnotations', with_bbox=True, with_mask=True)],
                [dict(type='PackDetInputs', meta_keys=(
                    'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip',
                    'flip_direction'))]]),
        ],
    }  # fmt: skip
    metrics = evaluate(run.config, run.weights, options, work_dir=str(tmp_path), tta=True)
    assert 'coco/bbox_mAP' in metrics and 'coco/segm_mAP' not in metrics


def test_it_goes_on_from_a_checkpoint(run, tmp_path):
    folder = tmp_path / 'again'
    shutil.copytree(run.folder, folder)
    (folder / 'iter_2.pth').unlink()
    train(run.config, work_dir=str(folder), resume=str(folder / 'iter_1.pth'))
    first, second = (torch.load(f / 'weights.pth', weights_only=False)['state_dict']
                     for f in (run.folder, folder))  # fmt: skip
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_browsing_shows_the_boxes(run, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr('g2sd_mm.tasks.drawing.draw_sample',
                        lambda task, image, sample, *a, **k: drawn.append(sample) or image)
    browse(run.config, str(tmp_path), number=2)
    assert [len(sample.gt_instances) for sample in drawn] == [2, 2]
    assert not any('masks' in sample.gt_instances for sample in drawn)


def test_the_checker_says_so_without_harm(run):
    found = check_data([run.config], workers=0).findings
    assert 'boxes-alone' in {f.kind for f in found}
    assert not {f.kind for f in found if f.harmful} - {'duplicate', 'leakage'}


# Weights with a mask head -------------------------------------------------------------------------


@pytest.fixture(scope='module')
def masked(run, tmp_path_factory) -> str:
    """Weights of the Mask R-CNN of the same config."""
    torch.manual_seed(0)
    model = MODELS.build(plain_model(load_config(run.config)))
    model.init_weights()
    return save(tmp_path_factory.mktemp('masks') / 'masks.pth', model)


def test_weights_of_masks_are_tested_on_boxes(run, masked, tmp_path):
    metrics = evaluate(run.config, masked, work_dir=str(tmp_path))
    assert 'coco/bbox_mAP' in metrics and 'coco/segm_mAP' not in metrics
    (prediction,) = infer(run.config, masked, [run.image], str(tmp_path), threshold=0)
    assert 'mask' in prediction['instances'][0]


def test_a_run_on_boxes_starts_from_weights_of_masks(run, masked, tmp_path):
    train(run.config, {'load_from': masked}, str(tmp_path))
    assert names(tmp_path / 'weights.pth') == names(run.weights)


# Distilled ----------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def teacher(run, tmp_path_factory) -> str:
    """Weights of the teacher, a Mask R-CNN."""
    torch.manual_seed(0)
    cfg = load_config(str(ROOT / 'configs/shapes/vitb_maskrcnn.py'))
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(plain_model(cfg))
    model.init_weights()
    return save(tmp_path_factory.mktemp('teacher') / 'teacher.pth', model)


def test_a_distilled_run_with_a_teacher_of_masks(run, teacher, tmp_path):
    config = written(run.root, DISTILLED)
    options = {
        'distillation.teacher.checkpoint': teacher,
        'distillation.inherit': None,  # the teacher has other classes
        'distillation.taps.masks': dict(student='roi_head.mask_head.convs.0', teacher='neck'),
        'distillation.adapters.masks': dict(type='LevelAdapters', channels=64, num_levels=4),
        'distillation.losses.loss_masks': dict(type='ObjectnessDistillationLoss', tap='masks'),
    }
    train(config, options, str(tmp_path))
    assert len(told(tmp_path, 'left out too: loss_masks')) == 1
    log = next(tmp_path.glob('*/*.log')).read_text()
    line = next(line for line in log.splitlines() if 'Iter(train)' in line)
    assert all(f' {name}: ' in line for name in ('loss_feature', 'loss_objectness', 'loss_bbox'))
    assert 'loss_mask' not in line
    assert names(tmp_path / 'weights.pth') == names(run.weights)
    metrics = evaluate(config, str(tmp_path / 'weights.pth'), work_dir=str(tmp_path / 'test'))
    assert 'coco/bbox_mAP' in metrics and 'coco/segm_mAP' not in metrics


def test_losses_on_masks_alone_leave_nothing_to_distil(run, tmp_path):
    cfg = load_config(written(run.root, DISTILLED), {
        'distillation.taps': dict(pyramid='roi_head.mask_head', objectness='roi_head.mask_head'),
    })  # fmt: skip
    with pytest.raises(UserError, match=words('loss_feature', 'distillation.losses')):
        choose_boxes_or_masks(cfg, ('train_dataloader',))
