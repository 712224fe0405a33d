"""Every config of ``configs/imagenet``: it exists, builds, and has the published recipe."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

import cv2
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.utils.dl_utils import set_multi_processing
from torch.utils.data import DataLoader, Dataset

import g2sd_mm
from g2sd_mm.devices import on_meta_device
from g2sd_mm.distill import MaskedStudent, SpecificDistiller
from g2sd_mm.distill.losses.standardisation import LayerNormTarget
from g2sd_mm.distill.teachers.openmmlab import OpenMMLabTeacher

from ..helpers import imagenet
from ..helpers.toys import config

SIZES = ('vits', 'vitt')
DIMS = {'vits': 384, 'vitt': 192, 'vitb': 768, 'vitl': 1024}
STAGE1 = [*(f'g2sd_{size}_generic' for size in SIZES), 'g2sd_vits_generic_gpu_decode']
STAGE2 = [f'g2sd_{size}_cls' for size in SIZES]
SINGLE = [f'{size}_single_stage' for size in SIZES]
MAE = ['vitb_mae', 'vitl_mae', *(f'{size}_mae' for size in SIZES)]
PLAIN = [
    f'{before}{size}_{after}'
    for size, (before, after) in product(
        SIZES, (('g2sd_', 'cls_nosd'), ('', 'mae_cls'), ('', 'scratch_cls'))
    )
]
DEPLOY = [f'{size}_deploy' for size in SIZES]
#: Stage 1 from foundation models, and what follows it; see test_feature_teachers.py.
FOUNDATION = [
    f'g2sd_{size}_{stage}_{teacher}'
    for size, stage, teacher in product(
        SIZES, ('generic', 'cls'), ('dinov2', 'dinov3', 'siglip2')
    )
]
ALL = [*STAGE1, *STAGE2, *SINGLE, *MAE, *PLAIN, *DEPLOY, *FOUNDATION, 'vitb_cls']


def load(name: str, **options: Any) -> Config:
    return config(f'imagenet/{name}.py', **options)


def size_of(name: str) -> str:
    return next(size for size in DIMS if size in name)


@pytest.fixture
def no_memory(monkeypatch):
    """Full-size networks on the meta device, which has no numbers to compare."""
    monkeypatch.setattr(OpenMMLabTeacher, 'check_student', lambda self, student: None)
    with on_meta_device():
        yield


def build(cfg: Config) -> torch.nn.Module:
    """The model as ``tools/train.py`` builds it."""
    cfg = g2sd_mm.distill_config(cfg)
    model = dict(cfg.model)
    model.setdefault('_scope_', cfg.default_scope)
    if cfg.get('data_preprocessor'):
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    return MODELS.build(model)


def test_there_is_no_other_config():
    assert {path.stem for path in imagenet.FOLDER.glob('*.py')} == set(ALL)


# Models -------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', STAGE1)
def test_stage1_is_built_as_published(no_memory, name):
    model = build(load(name, **{'distillation.teacher.random_weights': True}))
    assert isinstance(model.student, MaskedStudent)
    student, teacher = model.student, model.teacher.model
    assert student.embed_dim == DIMS[size_of(name)]
    assert student.decoder_dim == {'vits': 256, 'vitt': 128}[size_of(name)]
    assert (teacher.embed_dim, teacher.decoder_dim, teacher.depth) == (768, 512, 12)
    assert len(teacher.decoder_blocks) == 4
    ((name_, loss),) = model.distillation.losses.items()
    assert (name_, loss.tokens, loss.beta) == ('loss_tokens', 'all', 2.0)
    assert isinstance(loss.target, LayerNormTarget)
    assert (loss.loss_weight, student.mask_ratio, student.decode_share) == (1.0, 0.75, 1.0)
    assert set(model.distillation.student_taps) == {'tokens'}
    published = {'vits': 26_452_352, 'vitt': 7_534_400}[size_of(name)]
    dim, width = student.embed_dim, student.decoder_dim
    # what the published student has and never trains: encoder predictor and pixel head
    unused = (dim + 1) * 768 + 769 * 768 + 2 * width + (width + 1) * 768
    assert sum(p.numel() for p in model.parameters()) == published - unused


@pytest.mark.parametrize('name', STAGE2 + SINGLE)
def test_stage2_is_built_as_published(no_memory, name):
    options = {'distillation.teacher.checkpoint': None}
    options['distillation.teacher.random_weights'] = True
    model = build(load(name, **options))
    assert isinstance(model, SpecificDistiller)
    assert model.student.backbone.out_type == 'dist_token'
    assert model.student.backbone.embed_dim == DIMS[size_of(name)]
    published = {'vits': 22_436_048, 'vitt': 5_910_608}[size_of(name)]
    assert sum(p.numel() for p in model.parameters()) == published
    teacher = model.teacher.model
    assert (teacher.backbone.embed_dim, teacher.backbone.out_type) == (768, 'avg_featmap')
    loss = model.distillation.losses['loss_dist']
    assert loss.loss_weight == model.student.head.loss_module.loss_weight == 0.5
    assert not any(isinstance(m, type(loss)) for m in model.student.modules())


@pytest.mark.parametrize('name', [*PLAIN, 'vitb_cls'])
def test_plain_classifiers_build(no_memory, name):
    model = build(load(name))
    assert model.backbone.out_type == 'avg_featmap'
    assert model.backbone.embed_dim == DIMS[size_of(name)]
    published = {'vits': 22_050_664, 'vitt': 5_717_416, 'vitb': 86_567_656}[size_of(name)]
    assert sum(p.numel() for p in model.parameters()) == published


@pytest.mark.parametrize('name', MAE)
def test_pre_training_builds(no_memory, name):
    model = build(load(name))
    decoders = {'vits': (256, 4), 'vitt': (128, 4)}
    decoder = decoders.get(size_of(name), (512, 8))
    autoencoder = model.autoencoder
    assert (autoencoder.decoder_dim, len(autoencoder.decoder_blocks)) == decoder
    assert autoencoder.embed_dim == DIMS[size_of(name)]
    assert model.norm_pix


@pytest.mark.parametrize('name', DEPLOY)
def test_deployment_has_the_students_names_and_a_stock_head(no_memory, name):
    cfg = Config.fromfile(imagenet.path(name))
    assert cfg.custom_imports.imports == ['g2sd_mm.models.backbones']
    student = f'g2sd_{size_of(name)}_cls'
    options = {'distillation.teacher.random_weights': True,
               'distillation.teacher.checkpoint': None}
    plain, distilled = build(cfg), build(load(student, **options))
    shapes = {key: value.shape for key, value in distilled.deployable_state().items()}
    assert {key: value.shape for key, value in plain.state_dict().items()} == shapes
    assert type(plain.head).__module__.startswith('mmpretrain.')
    assert cfg.data_preprocessor.mean == load(student).data_preprocessor.mean


@pytest.mark.parametrize('name', ['g2sd_vits_cls', 'g2sd_vits_cls_nosd', 'vits_scratch_cls'])
def test_toy_sizes_build_with_real_weights_and_run(name):
    """The same files with options, not on the meta device."""
    options = imagenet.plain('demo-student', **{'model.backbone.init_cfg': None})
    if name == 'g2sd_vits_cls':
        options = imagenet.stage2(None, **{'model.backbone.init_cfg': None})
        options['distillation.teacher.random_weights'] = True
    model = build(load(name, **options)).eval()
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 3)


# Where weights come from --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'source'),
    [
        *((f'g2sd_{s}_cls', f'g2sd_{s}_generic') for s in SIZES),
        *((f'g2sd_{s}_cls_nosd', f'g2sd_{s}_generic') for s in SIZES),
        *((f'{s}_mae_cls', f'{s}_mae') for s in SIZES),
        ('vitb_cls', 'vitb_mae'),
    ],
)
def test_encoders_come_from_the_stage_before(name, source):
    init = load(name).model.backbone.init_cfg
    assert init == dict(type='Pretrained', checkpoint=f'work_dirs/{source}/weights.pth')


@pytest.mark.parametrize('name', [*SINGLE, *(f'{s}_scratch_cls' for s in SIZES)])
def test_rows_from_scratch_start_random_without_layer_decay(name):
    cfg = load(name)
    assert cfg.model.backbone.init_cfg is None
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == 1.0
    head = cfg.model.head
    assert (head.get('class_std') or head.init_cfg.std) == 0.02


@pytest.mark.parametrize('name', STAGE2 + SINGLE)
def test_the_teacher_is_the_fine_tuned_base(name):
    teacher = load(name).distillation.teacher
    assert teacher.config == 'configs/imagenet/vitb_cls.py'
    assert teacher.checkpoint == 'work_dirs/vitb_cls/weights.pth'
    assert teacher.overrides == {'model.head.num_classes': 1000}


# Recipes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', STAGE1 + MAE)
def test_pre_training_recipe(name):
    cfg = load(name)
    accumulation, optimizer = cfg.optim_wrapper.accumulative_counts, cfg.optim_wrapper.optimizer
    step = 8 * cfg.train_dataloader.batch_size
    assert cfg.auto_scale_lr.base_batch_size == step == 2048
    assert not cfg.auto_scale_lr.enable
    assert optimizer.lr == pytest.approx(1.5e-4 * step * accumulation / 256)
    assert (optimizer.type, optimizer.betas, optimizer.weight_decay) == ('AdamW', (0.9, 0.95), 0.05)
    assert cfg.train_cfg.max_epochs == 300
    (schedule,) = cfg.param_scheduler
    assert (schedule.type, schedule.warmup) == ('WarmupCosineLR', 10)
    assert schedule.accumulation == accumulation
    assert schedule.min_ratio * optimizer.lr == pytest.approx(2.5e-6)
    assert 'clip_grad' not in cfg.optim_wrapper
    crop = cfg.train_pipeline[0]
    assert (crop.type, crop.crop_ratio_range) == ('LoadRandomResizedCrop', (0.2, 1.0))
    assert (crop.interpolation, crop.flip_prob) == ('bicubic', 0.5)
    assert cfg.train_dataloader.drop_last


@pytest.mark.parametrize('name', STAGE2 + SINGLE + PLAIN)
def test_fine_tuning_recipe(name):
    cfg = load(name)
    optimizer = cfg.optim_wrapper.optimizer
    batch = 8 * cfg.train_dataloader.batch_size
    assert cfg.auto_scale_lr.base_batch_size == batch == 1024
    assert optimizer.lr == pytest.approx(1e-3 * batch / 256)
    assert (optimizer.betas, optimizer.weight_decay) == ((0.9, 0.999), 0.05)
    assert cfg.train_cfg.max_epochs == 200
    (schedule,) = cfg.param_scheduler
    assert schedule.warmup == 5
    assert schedule.min_ratio * optimizer.lr == pytest.approx(1e-6)
    assert cfg.optim_wrapper.paramwise_cfg.no_decay_names == ('pos_embed', 'cls_token')
    mixup, cutmix = cfg.model.train_cfg.augments
    assert (mixup.type, mixup.alpha, cutmix.type, cutmix.alpha) == (
        'FlipMixup', 0.8, 'FlipCutMix', 1.0
    )
    assert cfg.model.head.loss.label_smooth_val == 0.1
    assert cfg.model.backbone.get('drop_path_rate', 0.0) == 0.0


@pytest.mark.parametrize('name', [*STAGE2, 'g2sd_vits_cls_nosd', 'vits_mae_cls'])
def test_students_decay_by_layer(name):
    assert load(name).optim_wrapper.paramwise_cfg.layer_decay_rate == 0.75


def test_augmentation_is_the_published_one():
    crop, augment, erase = load('g2sd_vits_cls').train_pipeline[:3]
    assert (crop.type, crop.scale, crop.interpolation) == ('LoadRandomResizedCrop', 224, 'bicubic')
    assert ('crop_ratio_range' not in crop, crop.flip_prob) == (True, 0.5)  # 0.08 to 1
    assert augment.policies == 'timm_increasing_fast'
    assert (augment.num_policies, augment.magnitude_level, augment.magnitude_std) == (2, 9, 0.5)
    assert (erase.type, erase.erase_prob, erase.mode) == ('FastRandomErasing', 0.25, 'rand')


def test_the_teacher_has_maes_recipe():
    cfg = load('vitb_cls')
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(5e-4 * 1024 / 256)
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == 0.65
    assert cfg.train_cfg.max_epochs == 100
    assert cfg.model.backbone.drop_path_rate == 0.1
    (schedule,) = cfg.param_scheduler
    assert schedule.min_ratio * cfg.optim_wrapper.optimizer.lr == pytest.approx(1e-6)


@pytest.mark.parametrize('name', [*STAGE2, *PLAIN, 'vitb_cls', *DEPLOY])
def test_evaluation_is_a_central_crop_of_every_image_once(name):
    cfg = load(name)
    loader = cfg.test_dataloader
    resize, crop = loader.dataset.pipeline[1:3]
    assert (resize.type, resize.scale, resize.edge) == ('ResizeEdge', 256, 'short')
    assert (crop.type, crop.crop_size) == ('CenterCrop', 224)
    assert (loader.sampler.type, loader.sampler.shuffle) == ('DefaultSampler', False)
    assert not loader.get('drop_last')
    assert cfg.test_evaluator.topk == (1, 5)


@pytest.mark.parametrize('name', [n for n in ALL if n not in DEPLOY])
def test_runs_can_be_repeated(name):
    cfg = load(name)
    hooks = [hook.type for hook in cfg.custom_hooks]
    assert hooks == ['StepSeedHook', 'SampleErrorHook', 'WeightsExportHook']
    assert cfg.train_dataloader.sampler.type == 'SeededSampler'
    assert cfg.train_dataloader.dataset.type == 'SeededDataset'
    assert cfg.randomness.seed == 0
    assert not cfg.randomness.diff_rank_seed


def test_no_config_names_a_place_outside_of_the_checkout():
    for path in imagenet.FOLDER.glob('*.py'):
        assert not re.search(r"""['"](/|~|https?:)""", path.read_text()), path.name


def test_workers_read_on_one_thread_each():
    """More would compete for the cores that the workers themselves are for."""
    before = cv2.getNumThreads()
    try:
        set_multi_processing(**load('g2sd_vits_generic').env_cfg.mp_cfg)
        cv2_threads, torch_threads = next(iter(DataLoader(Threads(), num_workers=1)))
    finally:
        cv2.setNumThreads(before)
    assert cv2_threads <= 1
    assert torch_threads == 1


class Threads(Dataset):
    """Tells with how many threads it is read."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> tuple[int, int]:
        return cv2.getNumThreads(), torch.get_num_threads()


@pytest.mark.parametrize('name', STAGE1 + STAGE2)
def test_images_are_read_ahead_and_cross_over_as_bytes(name):
    loader = load(name).train_dataloader
    assert loader.num_workers == 8
    assert loader.persistent_workers
    config = Config.fromfile(imagenet.path(name)).train_dataloader  # before it is fitted to here
    assert config.pin_memory
    assert not [s for s in loader.dataset.dataset.pipeline if 'Normal' in s.type]


def test_noise_of_erased_boxes_is_normal_after_normalisation():
    """mmpretrain erases before normalisation, in BGR."""
    cfg = load('g2sd_vits_cls')
    erase = next(step for step in cfg.train_pipeline if step.type == 'FastRandomErasing')
    assert erase.fill_color == cfg.data_preprocessor.mean[::-1]
    assert erase.fill_std == cfg.data_preprocessor.std[::-1]
