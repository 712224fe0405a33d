"""Every config of the project: it builds at full size, its schedule adds up, its family trains."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

import g2sd_mm
from g2sd_mm.bench.suites.budget import raw_config, work_of
from g2sd_mm.bench.suites.paper import PAPER
from g2sd_mm.config.load import load_config
from g2sd_mm.config.parts import sync_batch_norm, teachers_in
from g2sd_mm.devices import on_meta_device
from g2sd_mm.distill.teachers.openmmlab import OpenMMLabTeacher
from g2sd_mm.distill.teachers.timm import TimmTeacher

from ..helpers.small_configs import shrink
from ..helpers.toys import ROOT, images, labelled

CONFIGS = sorted(
    path.relative_to(ROOT / 'configs').as_posix()
    for path in (ROOT / 'configs').glob('[a-z]*/*.py')
)
MODEL_CONFIGS = [name for name in CONFIGS if not name.startswith(('robustness/', 'shapes_test/'))]
TRAINED = [name for name in MODEL_CONFIGS if not name.endswith('_deploy.py')]
# Examples for data of one's own are for sets of any size.
_ANY_SIZE = (
    'ade20k/custom_masks_vits_upernet.py', 'coco/coco_mini_example.py',
    'nyu/custom_depth_vits_depth.py', 'overfit/',
)  # fmt: skip
COUNTED = [name for name in TRAINED if not name.startswith(_ANY_SIZE)]
#: Runs of the paper's suite that are a config with another value: ablations.
VARIANTS = [
    step.name for step in PAPER.steps
    if step.name != Path(step.config).stem and 'cls_nosd' not in step.config
]


@pytest.fixture(scope='module', autouse=True)
def registered():
    g2sd_mm.register_all()
    for module in (
        'mmdet.models', 'mmseg.models', 'g2sd_mm.models.coordinates', 'g2sd_mm.models.depth',
        'g2sd_mm.models.heads', 'g2sd_mm.datasets.depth',
        'g2sd_mm.models.instance_tta', 'g2sd_mm.datasets.augmenting', 'g2sd_mm.datasets.coco',
        'g2sd_mm.datasets.mixing',
    ):
        importlib.import_module(module)


def build(cfg: Config) -> torch.nn.Module:
    """The model as ``tools/train.py`` builds it, its teacher with random weights."""
    for teacher in teachers_in(cfg.get('distillation')).values():
        teacher.update(checkpoint=None, random_weights=True)
    if cfg.model.get('backbone'):
        cfg.model.backbone.init_cfg = None
    cfg = g2sd_mm.distill_config(sync_batch_norm(cfg, 'none'))
    model = dict(cfg.model)
    model.setdefault('_scope_', cfg.default_scope)
    if cfg.get('data_preprocessor'):
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build(model)


def test_no_folder_is_left_out():
    folders = {path.name for path in (ROOT / 'configs').iterdir() if path.is_dir()}
    assert {Path(name).parent.name for name in CONFIGS} == folders - {'_base_'}


def config_of(name: str) -> tuple[str, dict]:
    """Path and options of a config below ``configs/``, or of a step of the paper's suite."""
    if '/' in name:
        return str(ROOT / 'configs' / f'{name.removesuffix(".py")}.py'), {}
    step = PAPER.step(name)
    return str(ROOT / step.config), step.options


@pytest.mark.parametrize('name', [*MODEL_CONFIGS, *VARIANTS])
def test_builds_at_full_size(name, monkeypatch):
    """On the meta device: shapes without numbers."""
    for family in (OpenMMLabTeacher, TimmTeacher):
        monkeypatch.setattr(family, 'check_student', lambda self, student: None)
    with on_meta_device():
        model = build(load_config(*config_of(name)))
    assert sum(p.numel() for p in model.parameters()) > 0


@pytest.mark.parametrize('name', CONFIGS)
def test_robust_data_and_all_others_say_how_they_are_laid_out(name):
    cfg = load_config(str(ROOT / 'configs' / name))
    assert cfg.get('data_layout') or cfg.get('shapes') or 'overfit' in name


@pytest.mark.parametrize('name', [n for n in CONFIGS if n.startswith('ablations/')])
def test_an_ablation_is_a_few_lines_over_its_base(name):
    lines = (ROOT / 'configs' / name).read_text().splitlines()
    assert lines[0].startswith('# ')
    assert isinstance(Config.fromfile(ROOT / 'configs' / name).filename, str)
    code = [line for line in lines if line.strip() and not line.startswith('#')]
    assert code[0].startswith('_base_ = ') and len(code) <= 20


# Schedules ----------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', [*COUNTED, *VARIANTS])
def test_schedule_adds_up(name):
    """epochs x images / batch = iterations, whichever of them the config counts."""
    cfg = raw_config(*config_of(name))
    work = work_of(cfg)
    assert work.images, 'the size of its data is known'
    assert work.step == work.processes * cfg.train_dataloader.batch_size
    assert work.steps * work.step / work.images == pytest.approx(work.passes)
    if 'max_epochs' in cfg.train_cfg:
        # the last batch of an epoch is dropped: at most one batch an epoch is lost
        lost = cfg.train_cfg.max_epochs - work.passes
        assert 0 <= lost * work.images < work.step * cfg.train_cfg.max_epochs
    else:
        assert work.steps == cfg.train_cfg.max_iters
        assert cfg.train_cfg.val_interval <= work.steps
    (schedule,) = cfg.param_scheduler
    assert schedule.get('accumulation', 1) == work.accumulation
    if schedule.type == 'WarmupMultiStepLR':  # ViTDet's, at every length
        assert schedule.milestones == (8 / 9, 26 / 27)
        assert schedule.warmup < work.steps * schedule.milestones[0]
    elif schedule.type == 'WarmupCosineLR':
        assert schedule.warmup < cfg.train_cfg.max_epochs


@pytest.mark.parametrize(
    ('name', 'batch', 'updates', 'passes'),
    [
        ('imagenet/g2sd_vits_generic', 4096, 93_750, 300),
        ('imagenet/vitt_mae', 4096, 93_750, 300),
        ('imagenet/g2sd_vitt_cls', 1024, 250_200, 200),
        ('imagenet/vitb_cls', 1024, 125_100, 100),
        ('coco/g2sd_vits_maskrcnn', 64, 184_375, 100),
        ('coco/g2sd_vits_maskrcnn_1gpu', 64, 184_375, 100),
        ('coco/vitt_single_stage_maskrcnn', 64, 184_375, 100),
        ('ade20k/g2sd_vitt_upernet', 16, 160_000, 127),
        ('nyu/g2sd_vits_depth', 16, 25_000, 16.5),
        ('g2sd_vits_generic_100ep', 4096, 31_250, 100),
        ('g2sd_vits_generic_400ep', 4096, 125_000, 400),
    ],
)
def test_published_lengths(name, batch, updates, passes):
    work = work_of(raw_config(*config_of(name)))
    assert (work.batch, work.updates) == (batch, updates)
    assert work.passes == pytest.approx(passes, rel=0.005)


@pytest.mark.parametrize('task', ['cls', 'maskrcnn', 'upernet', 'depth'])
@pytest.mark.parametrize('folder', ['shapes', 'mini'])
def test_student_rows_of_a_task_train_equally_long(folder, task):
    names = [
        name for name in TRAINED
        if name.startswith(f'{folder}/') and 'vits' in name and 'generic' not in name
        and (task in name or (task == 'cls' and name.endswith('single_stage.py')))
        and 'tinybert' not in name  # two parts, which test_baselines adds up
    ]
    lengths = {work_of(raw_config(str(ROOT / 'configs' / name))).steps for name in names}
    assert len(names) >= 2 and len(lengths) == 1


# One step of each family --------------------------------------------------------------------------

FAMILIES = (
    'imagenet/vitb_mae', 'imagenet/g2sd_vits_generic', 'imagenet/vitb_cls',
    'imagenet/g2sd_vits_cls', 'imagenet/vitt_single_stage',
    'g2sd_vits_generic_dec512d8b', 'g2sd_vits_generic_target8',
    'g2sd_vits_generic_mask0', 'g2sd_vits_generic_masked',
    'g2sd_vits_generic_l1', 'ablations/g2sd_vits_generic_encoder',
    'ablations/g2sd_vits_generic_relation', 'ablations/g2sd_vits_cls_nkd',
    'ablations/g2sd_vits_maskrcnn_feature', 'ablations/g2sd_vits_maskrcnn_objectness',
    'ablations/ade20k_vits_upernet_features', 'g2sd_vits_upernet_cwd10',
    'coco/vitb_maskrcnn', 'coco/g2sd_vits_maskrcnn', 'coco/vits_mae_maskrcnn',
    'coco/vitt_single_stage_maskrcnn',
    'ade20k/vitb_upernet', 'ade20k/g2sd_vits_upernet', 'ade20k/vitt_single_stage_upernet',
    'shapes/g2sd_vits_generic', 'shapes/g2sd_vits_maskrcnn', 'shapes/g2sd_vits_upernet',
    'mini/g2sd_vits_cls', 'mini/vits_single_stage_maskrcnn', 'mini/vits_scratch_upernet',
    'nyu/vitb_depth', 'nyu/g2sd_vits_depth', 'shapes/g2sd_vits_depth',
)


@pytest.mark.parametrize('name', FAMILIES)
def test_one_step_of_each_family(name):
    cfg = shrink(load_config(*config_of(name)))
    model = build(cfg).train()
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        losses = model(**batch(cfg, model), mode='loss')
    log = [value for key, value in losses.items() if 'loss' in key]
    total = sum(torch.as_tensor(v).sum() if torch.is_tensor(v) else sum(v) for v in log)
    assert torch.isfinite(total)
    total.backward()
    moved = [p for p in model.parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    assert len(moved) > 10


def batch(cfg: Config, model: torch.nn.Module) -> dict:
    """Two random pictures with annotations, as the model's preprocessor gives them."""
    kind = cfg.model.type
    if kind in ('MaskedStudent', 'MAEPretraining', 'ImageClassifier'):
        side = cfg.model.get('img_size') or 224
        side = (cfg.model.get('backbone') or {}).get('img_size', side)
        classes = cfg.get('num_classes', 3)
        samples = labelled([0, 1], classes) if kind == 'ImageClassifier' else None
        return dict(inputs=images(2, side), data_samples=samples)
    side = 128 if kind == 'MaskRCNN' else cfg.model.data_preprocessor.size[0]
    pictures = [torch.randint(0, 255, (3, side, side), dtype=torch.uint8) for _ in range(2)]
    sample = {'MaskRCNN': instances, 'DepthEstimator': depth}.get(kind, mask)
    data = dict(inputs=pictures, data_samples=[sample(side) for _ in pictures])
    return model.data_preprocessor(data, training=True)


def instances(side: int):
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    shape = dict(img_shape=(side, side), ori_shape=(side, side), batch_input_shape=(side, side))
    sample = DetDataSample(metainfo={**shape, 'scale_factor': (1.0, 1.0)})
    masks = np.zeros((2, side, side), np.uint8)
    masks[0, 10:60, 10:60] = masks[1, 40:100, 30:90] = 1
    boxes = torch.tensor([[10.0, 10, 60, 60], [30, 40, 90, 100]])
    sample.gt_instances = InstanceData(
        bboxes=boxes, labels=torch.tensor([0, 1]), masks=BitmapMasks(masks, side, side)
    )
    sample.ignored_instances = InstanceData(bboxes=boxes[:0], labels=torch.zeros(0).long())
    return sample


def depth(side: int):
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    return SegDataSample(gt_depth_map=PixelData(data=8 * torch.rand(1, side, side)))


def mask(side: int):
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    return SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, 10, (1, side, side))))
