"""The detection configs: what they build, how they train, and what they make of odd data."""

from __future__ import annotations

import importlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import mmdet
import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DATASETS, METRICS, MODELS, PARAM_SCHEDULERS, DefaultScope
from mmengine.runner import Runner, load_checkpoint

import g2sd_mm
from g2sd_mm.engine.optimizers import ViTLayerDecayConstructor
from g2sd_mm.engine.schedules import warmup_multistep

from ..helpers.odd_coco import CLASSES, IMAGES, small, write_set
from ..helpers.toys import logged, words

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(
    p.stem for p in (ROOT / 'configs/coco').glob('*.py') if 'generic' not in p.stem  # stage 1b
)
STAGE2 = 'configs/coco/g2sd_vits_maskrcnn.py'
NOSD = 'configs/coco/g2sd_vits_maskrcnn_nosd.py'


@pytest.fixture(scope='module', autouse=True)
def registered():
    g2sd_mm.register_all()
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    for module in ('models.coordinates', 'models.instance_tta', 'datasets.coco'):
        importlib.import_module(f'g2sd_mm.{module}')
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture(scope='module')
def odd(tmp_path_factory) -> Path:
    return write_set(tmp_path_factory.mktemp('odd'))


@pytest.fixture(scope='module')
def teacher(odd, tmp_path_factory) -> dict:
    """A teacher block whose checkpoint exists."""
    folder = tmp_path_factory.mktemp('teacher')
    cfg = small('configs/coco/vitb_maskrcnn.py', odd, folder)
    model = MODELS.build(cfg.model)
    model.init_weights()
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, folder / 'teacher.pth')
    return dict(
        config=dict(model=cfg.model.to_dict(), default_scope='mmdet'),
        checkpoint=str(folder / 'teacher.pth'),
    )


def run(cfg: Config) -> Runner:
    """Train as tools/train.py does."""
    cfg.setdefault('experiment_name', Path(cfg.work_dir).name)
    runner = Runner.from_cfg(g2sd_mm.distill_config(cfg))
    runner.train()
    return runner


# ---------------------------------------------------------------------------------- what is built


@pytest.mark.parametrize('name', NAMES)
def test_networks_and_teachers_are_built(name, odd, teacher, tmp_path):
    cfg = small(f'configs/coco/{name}.py', odd, tmp_path)
    distilled = 'distillation' in cfg
    with_teacher = (name.startswith('g2sd') and not name.endswith('nosd')) or 'single_stage' in name
    assert distilled == with_teacher
    if distilled:
        cfg.distillation.teacher.update(teacher)
    model = MODELS.build(g2sd_mm.distill_config(cfg).model)
    images = torch.randn(1, 3, 128, 128)
    student = model.student if distilled else model
    levels = student.neck(student.backbone(images))
    assert [level.shape[-1] for level in levels] == [32, 16, 8, 4, 2]
    if distilled:
        assert 'teacher' not in ' '.join(model.state_dict())
        assert len(model.distillation.adapters['pyramid'].conv) == 5


@pytest.mark.parametrize('name', ['g2sd_vits_maskrcnn', 'g2sd_vits_maskrcnn_nosd', 'vitb_maskrcnn'])
def test_builds_at_demo_size(name):
    cfg = Config.fromfile(f'configs/shapes/{name}.py')
    cfg.model.backbone.init_cfg = None
    if 'distillation' in cfg:
        cfg.distillation.teacher.update(checkpoint=None, random_weights=True)
    model = MODELS.build(g2sd_mm.distill_config(cfg).model)
    student = getattr(model, 'student', model)
    levels = student.neck(student.backbone(torch.randn(1, 3, 128, 128)))
    assert [level.shape[-1] for level in levels] == [32, 16, 8, 4]


def test_twins_differ_in_the_distillation_alone():
    ours, twin = Config.fromfile(STAGE2).to_dict(), Config.fromfile(NOSD).to_dict()
    del ours['distillation']
    # the release's command line against its configuration file
    assert ours['optim_wrapper']['optimizer'].pop('weight_decay') == 0.05
    assert twin['optim_wrapper']['optimizer'].pop('weight_decay') == 0.1
    assert ours == twin


def test_the_recipe_has_the_published_numbers():
    cfg = Config.fromfile(STAGE2)
    assert cfg.train_cfg.max_iters == 184375
    assert cfg.auto_scale_lr.base_batch_size == 64 == 8 * cfg.train_dataloader.batch_size
    assert cfg.val_evaluator.proposal_nums == (1, 10, 100)
    losses = cfg.distillation.losses
    assert (losses.loss_feature.loss_weight, losses.loss_objectness.loss_weight) == (0.001, 0.1)
    assert losses.loss_feature.warmup == losses.loss_objectness.warmup == 500


@pytest.mark.parametrize(
    ('options', 'lowest'), [({}, 0.7**13), ({'layer_decay_rate': 1.0}, 1.0)]
)
def test_parameter_groups(options, lowest, odd, tmp_path):
    cfg = small(NOSD, odd, tmp_path)
    model = MODELS.build(cfg.model)
    paramwise = dict(cfg.optim_wrapper.paramwise_cfg) | options
    groups = ViTLayerDecayConstructor(
        dict(optimizer=cfg.optim_wrapper.optimizer), paramwise
    ).parameter_groups(model, 1.0, 0.1)
    decay = {name: g['weight_decay'] for g in groups for name in g['param_names']}
    assert set(decay) == {name for name, _ in model.named_parameters()}
    assert decay['backbone.pos_embed'] == decay['backbone.blocks.0.norm1.bias'] == 0
    for name in (
        'backbone.blocks.0.attn.rel_pos_h',
        'backbone.blocks.0.attn.qkv.bias',
        'neck.simfp_2.1.weight',
        'roi_head.bbox_head.shared_convs.0.ln.weight',
    ):
        assert decay[name] == 0.1, name
    scale = {name: g['lr_scale'] for g in groups for name in g['param_names']}
    # two blocks in this model: 0.7 ** 3 for the patches
    assert scale['backbone.patch_embed.proj.weight'] == pytest.approx(lowest ** (3 / 13))
    assert scale['neck.simfp_2.0.weight'] == 1


def rates(cfg: Config, steps: list[int]) -> list[float]:
    """Learning rate at some steps of a run, as the runner would build its scheduler."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-4)
    (scheduler,) = cfg.param_scheduler
    assert scheduler.by_epoch is False  # else the runner ends it after one step
    built = PARAM_SCHEDULERS.build(
        dict(scheduler, end=cfg.train_cfg.max_iters), default_args=dict(optimizer=optimizer)
    )
    values = []
    for step in steps:
        built.last_step = step
        values += built._get_value()
    return values


def test_one_gpu_sees_the_same_rate_in_every_update():
    many, one = (Config.fromfile(f'configs/coco/{n}.py') for n in NAMES if n in (
        'g2sd_vits_maskrcnn', 'g2sd_vits_maskrcnn_1gpu'))
    steps = one.optim_wrapper.accumulative_counts
    assert steps * one.train_dataloader.batch_size == 64
    assert one.train_cfg.max_iters == steps * many.train_cfg.max_iters
    assert one.auto_scale_lr.base_batch_size == one.train_dataloader.batch_size
    assert one.distillation == many.distillation  # its warm-up is counted in updates
    updates = [0, 1, 125, 249, 250, 251, 163888, 163889, 177545, 177546, 184374]
    expected = rates(many, updates)
    assert expected[0] == pytest.approx(1e-7)
    assert expected[4] == pytest.approx(1e-4)
    assert expected[-1] == pytest.approx(1e-6)
    for part in (0, 1, steps - 1):  # first, second and last step of each update
        assert rates(one, [steps * u + part for u in updates]) == pytest.approx(expected, rel=1e-12)


# ------------------------------------------------------------------------------------ how it trains


@pytest.fixture(scope='module')
def distilled(odd, teacher, tmp_path_factory) -> Runner:
    """The small student, distilled for four steps on the odd data and evaluated once."""
    cfg = small(STAGE2, odd, tmp_path_factory.mktemp('distilled'))
    cfg.distillation.teacher.update(teacher)
    return run(cfg)


def test_trains_on_odd_data(distilled):
    scalars = distilled.message_hub.log_scalars
    for name in ('loss_feature', 'loss_objectness', 'loss_rpn_cls', 'loss_mask'):
        values, _ = scalars[f'train/{name}'].data
        assert len(values) == 4
        assert all(math.isfinite(value) for value in values), name
    feature, _ = scalars['train/loss_feature'].data
    assert feature[0] == 0 < feature[1]  # warm-up starts at 0
    assert 'val/coco/segm_mAP' in scalars
    # the fourth update ran at the rate of its place in the schedule
    rate, _ = scalars['train/base_lr'].data
    assert rate[3] == pytest.approx(1e-4 * warmup_multistep(3, 250, (163889, 177546)))


def test_student_runs_in_the_plain_config(distilled, odd, tmp_path):
    cfg = small(NOSD, odd, tmp_path)
    plain = MODELS.build(cfg.model)
    load_checkpoint(plain, f'{distilled.work_dir}/weights.pth', map_location='cpu', strict=True)
    plain.eval()
    distilled.model.eval()
    compared = 0
    for batch in distilled.val_dataloader:
        with torch.no_grad():
            ours, theirs = distilled.model.val_step(batch), plain.test_step(batch)
        for one, other in zip(ours, theirs, strict=True):
            for field in ('bboxes', 'scores'):
                torch.testing.assert_close(
                    one.pred_instances[field], other.pred_instances[field], atol=1e-6, rtol=0
                )
            assert torch.equal(one.pred_instances.masks, other.pred_instances.masks)
            compared += 1
    assert compared == len(IMAGES)


def test_views_of_one_image_are_pooled(distilled, odd, tmp_path):
    cfg = small(NOSD, odd, tmp_path)
    model = MODELS.build(ConfigDict(cfg.tta_model, module=cfg.model)).eval()
    dataset = cfg.test_dataloader.dataset
    dataset.pipeline = cfg.tta_pipeline
    views = DATASETS.build(dataset)[0]
    assert len(views['inputs']) == 4
    batch = {key: [[view] for view in values] for key, values in views.items()}
    with torch.no_grad():
        (merged,) = model.test_step(batch)
    height, width = IMAGES['plain.png']
    assert merged.pred_instances.masks.shape[1:] == (height, width)


#: what a user adds to a stock mmdet config
BLOCK = dict(
    teacher=dict(forward=('backbone', 'neck', 'rpn_head')),
    taps=dict(pyramid='neck', objectness='rpn_head.rpn_cls'),
    adapters=dict(pyramid=dict(type='LevelAdapters', channels=16)),
    losses=dict(
        loss_feature=dict(
            type='FeatureRichnessLoss', tap='pyramid', loss_weight=0.001,
            inputs=dict(objectness='teacher.objectness')),
        loss_objectness=dict(
            type='ObjectnessDistillationLoss', tap='objectness', loss_weight=0.1)))


def test_a_stock_config_with_the_block(odd, teacher, tmp_path):
    stock = Path(mmdet.__file__).parent / '.mim/configs/_base_/models/mask-rcnn_r50_fpn.py'
    model = Config.fromfile(stock).model
    model.backbone.update(depth=18, base_channels=16, init_cfg=None)
    model.backbone.frozen_stages = -1
    model.neck.update(in_channels=[16, 32, 64, 128], out_channels=16)
    model.rpn_head.update(in_channels=16, feat_channels=16)
    for part in ('bbox_roi_extractor', 'mask_roi_extractor'):
        model.roi_head[part].out_channels = 16
    model.roi_head.bbox_head.update(in_channels=16, fc_out_channels=32, num_classes=2)
    model.roi_head.mask_head.update(in_channels=16, conv_out_channels=16, num_classes=2)
    model.data_preprocessor.pad_size_divisor = 128
    cfg = small(NOSD, odd, tmp_path)
    cfg.model = model
    cfg.optim_wrapper = dict(optimizer=dict(type='SGD', lr=1e-3))
    cfg.train_cfg.update(max_iters=2, val_interval=10)
    cfg.distillation = ConfigDict(BLOCK)
    cfg.distillation.teacher.update(teacher)

    runner = run(cfg)
    file = torch.load(f'{runner.work_dir}/weights.pth', weights_only=True)
    plain = MODELS.build(model)
    plain.load_state_dict(file['state_dict'])  # every name, and no other
    saved = torch.load(f'{runner.work_dir}/iter_2.pth', weights_only=False)['state_dict']
    adapters = {name for name in saved if name.startswith('distillation.adapters.')}
    assert len(adapters) == 10
    assert len(saved) == len(file['state_dict']) + len(adapters)  # no teacher


def test_half_precision(odd, teacher, tmp_path):
    """bfloat16 around the student, and a teacher that is bfloat16 itself."""
    cfg = small(STAGE2, odd, tmp_path)
    cfg.distillation.teacher.update(teacher, dtype='bfloat16', train_mode=True)
    cfg.optim_wrapper.type = 'AutocastOptimWrapper'
    cfg.train_cfg.update(max_iters=2, val_interval=10)
    runner = run(cfg)
    for name in ('loss_feature', 'loss_objectness', 'loss_bbox', 'loss_mask', 'loss_rpn_bbox'):
        values, _ = runner.message_hub.log_scalars[f'train/{name}'].data
        assert all(math.isfinite(value) for value in values), name
    assert runner.model.teacher.model.training


@pytest.mark.slow
def test_two_processes(odd, teacher, tmp_path):
    """Gloo, and no search for unused parameters."""
    cfg = small(STAGE2, odd, tmp_path / 'run')
    cfg.distillation.teacher.update(teacher)
    cfg.train_cfg.val_interval = 100
    cfg.dump(str(tmp_path / 'small.py'))
    done = subprocess.run(
        [
            sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2', '--standalone',
            'tools/train.py', str(tmp_path / 'small.py'), '--launcher', 'pytorch',
            '--work-dir', str(tmp_path / 'run'), '--cfg-options', 'boxes_only=False',
        ],
        cwd=ROOT,
        env=os.environ | {'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'find_unused_parameters' not in done.stderr
    assert (tmp_path / 'run' / 'weights.pth').exists()


# --------------------------------------------------------------------------- what it makes of data


def training_set(cfg: Config):
    return DATASETS.build(cfg.train_dataloader.dataset)


def test_images_reach_the_model_at_1024(odd, tmp_path):
    """The full-size pipeline and preprocessor, on an image of 1400 x 900."""
    cfg = Config.fromfile(NOSD)
    inner = cfg.train_dataloader.dataset.dataset
    inner.update(
        data_root=f'{odd}/', ann_file='train.json', data_prefix=dict(img=''),
        metainfo=dict(classes=CLASSES), filter_cfg=None)
    samples = [training_set(cfg)[i] for i in range(len(IMAGES))]
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    for sample in samples:
        assert max(sample['inputs'].shape[1:]) <= 1024
        batch = dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']])
        assert preprocessor(batch, True)['inputs'].shape == (1, 3, 1024, 1024)
    test = cfg.test_dataloader.dataset
    test.update(
        data_root=f'{odd}/', ann_file='val.json', data_prefix=dict(img=''),
        metainfo=dict(classes=CLASSES))
    shapes = [DATASETS.build(test)[i]['inputs'].shape for i in range(len(IMAGES))]
    assert all(max(shape[1:]) == 1024 for shape in shapes)  # long side, large or small


def test_what_training_sees_of_odd_annotations(odd, tmp_path):
    cfg = small(NOSD, odd, tmp_path)
    pipeline = cfg.train_dataloader.dataset.dataset.pipeline
    pipeline[:] = [step for step in pipeline if not step.type.startswith(('Random', 'Filter'))]
    dataset = training_set(cfg)
    samples = {Path(dataset[i]['data_samples'].img_path).name: dataset[i] for i in range(6)}
    found = {
        name: (len(s['data_samples'].gt_instances), len(s['data_samples'].ignored_instances))
        for name, s in samples.items()
    }
    assert found == {
        'plain.png': (2, 0),
        'empty.png': (0, 0),
        'crowd.png': (0, 1),  # not an object, not background either
        'large.png': (2, 0),
        'grey.png': (2, 0),
        'broken.png': (2, 3),  # the crossing polygon and the overhanging one can be used
    }
    assert samples['grey.png']['inputs'].shape[0] == 3


def test_category_missing_from_the_annotations(odd, tmp_path):
    cfg = small(NOSD, odd, tmp_path)
    cfg.train_dataloader.dataset.dataset.metainfo.classes = ('discs', 'square')
    message = words("no category 'discs' (did you mean 'disc'?); its categories are ")
    with pytest.raises(ValueError, match=message):
        training_set(cfg)


def test_category_missing_from_the_config(odd, tmp_path):
    cfg = small(NOSD, odd, tmp_path)
    cfg.train_dataloader.dataset.dataset.metainfo.classes = ('disc',)
    with logged() as said:
        dataset = training_set(cfg)
    assert {x['bbox_label'] for i in range(6) for x in dataset.get_data_info(i)['instances']} == {0}
    assert 'left out: square' in ' '.join(said)


def test_broken_masks_stop_evaluation_before_it_starts(odd, tmp_path):
    cfg = small(NOSD, odd, tmp_path)
    dataset = cfg.val_dataloader.dataset
    dataset.ann_file = 'train.json'
    with pytest.raises(ValueError, match=r'3 instances whose mask is no polygon.*broken\.png'):
        DATASETS.build(dataset)
    dataset.pipeline[3].with_mask = False
    assert len(DATASETS.build(dataset)) == len(IMAGES)


def test_number_of_classes_must_agree(odd, tmp_path):
    cfg = small(NOSD, odd, tmp_path)
    cfg.model.roi_head.mask_head.num_classes = 3
    with pytest.raises(AssertionError, match='num_classes'):
        run(cfg)


def test_run_length_masks_are_drawn(tmp_path):
    folder = write_set(tmp_path / 'coded')
    content = json.loads((folder / 'train.json').read_text())
    content['annotations'][0]['segmentation'] = {'size': [96, 128], 'counts': [96 * 128]}
    (folder / 'train.json').write_text(json.dumps(content))
    cfg = small(NOSD, folder, tmp_path)
    loading = cfg.train_dataloader.dataset.dataset.pipeline[2]
    found = []
    for loading.poly2mask in (False, True):
        with logged() as said:
            dataset = training_set(cfg)
        assert ('1 masks are run lengths' in ' '.join(said)) is not loading.poly2mask
        found.append([dataset[i]['data_samples'].gt_instances.masks for i in range(len(IMAGES))])
    for drawn, asked in zip(*found, strict=True):
        assert type(drawn) is type(asked) and np.array_equal(drawn.masks, asked.masks)


# ------------------------------------------------------------------------------------ how it scores

ALL_ITEMS = (
    'mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l',
    # mmdet names recall after other proposal numbers; with (1, 10, 100) these are AR@1, AR@10,
    # AR@100 and AR@100 of small, medium and large objects
    'AR@100', 'AR@300', 'AR@1000', 'AR_s@1000', 'AR_m@1000', 'AR_l@1000',
)


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_published_figures_of_pycocotools(kind):
    """Detections of 100 images and their 24 published figures."""
    data = os.environ.get('G2SD_REFERENCE_DATA')
    folder = Path(data or '.') / 'eval_refs' / 'coco_ap'
    if not data or not folder.is_dir():
        pytest.skip('G2SD_REFERENCE_DATA names no folder with eval_refs/coco_ap')
    cfg = Config.fromfile(NOSD).val_evaluator
    annotations = folder / 'instances_val2014_100.json'
    metric = METRICS.build(
        dict(cfg, _scope_='mmdet', ann_file=str(annotations), metric=kind, metric_items=ALL_ITEMS)
    )
    content = json.loads(annotations.read_text())
    metric.dataset_meta = dict(classes=tuple(c['name'] for c in content['categories']))
    label = {c['id']: i for i, c in enumerate(content['categories'])}
    found: dict[int, list[dict]] = {image['id']: [] for image in content['images']}
    detections = folder / f'instances_val2014_fake{kind}100_results.json'
    for record in json.loads(detections.read_text()):
        found[record['image_id']].append(record)
    results = []
    for image_id, records in found.items():
        boxes = np.array([r.get('bbox', [0, 0, 1, 1]) for r in records], float).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        prediction = dict(
            img_id=image_id,
            bboxes=boxes,
            scores=np.array([r['score'] for r in records]),
            labels=np.array([label[r['category_id']] for r in records], int),
        )
        if kind == 'segm':
            prediction['masks'] = [r['segmentation'] for r in records]
        results.append((dict(img_id=image_id), prediction))
    figures = metric.compute_metrics(results)
    published = json.loads((folder / 'expected.json').read_text())[kind]
    ours = [figures[f'{kind}_{item}'] for item in ALL_ITEMS]
    assert ours == pytest.approx([round(x, 3) for x in published], abs=1e-9)
