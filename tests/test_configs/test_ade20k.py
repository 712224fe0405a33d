"""Configs of segmentation: they build, train, distil, and say clearly what is wrong with data."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DATASETS, MODELS, DefaultScope
from mmengine.runner import Runner

import g2sd_mm
from g2sd_mm.config.parts import sync_batch_norm
from g2sd_mm.datasets.shapes import SEG_CLASSES, SEG_PALETTE
from g2sd_mm.engine.optimizers import layer_decay_scale
from g2sd_mm.engine.schedules import warmup_poly
from g2sd_mm.errors import DataError
from g2sd_mm.models.sizes import encoder_size

from ..helpers.small_masks import CROP, TEACHER, on_small_data, small_config, write_data

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(
    path.relative_to(ROOT / 'configs').as_posix()
    for path in (ROOT / 'configs').glob('[a-z]*/*.py')
    if 'upernet' in path.stem and 'convnext' not in path.stem  # test_timm_students.py has those
)


@pytest.fixture(scope='module', autouse=True)
def segmentation_scope():
    """mmseg's scope in this module alone: runners leave theirs behind."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


def build(cfg: Config) -> torch.nn.Module:
    model = g2sd_mm.distill_config(cfg).model
    model.setdefault('_scope_', 'mmseg')
    return MODELS.build(model)


def train(cfg: Config) -> Runner:
    runner = Runner.from_cfg(g2sd_mm.distill_config(cfg))
    runner.train()
    return runner


def test_the_configs_that_people_know_are_there():
    names = {f'ade20k/{name}.py' for name in (
        'vitb_upernet', 'vitl_upernet', 'g2sd_vits_upernet', 'g2sd_vitt_upernet',
        'g2sd_vits_upernet_nosd', 'g2sd_vitt_upernet_nosd', 'g2sd_vits_upernet_from_vitl',
        'g2sd_vitt_upernet_from_vitl', 'g2sd_vits_upernet_kl')}
    assert names <= set(CONFIGS)


@pytest.mark.parametrize('name', CONFIGS)
def test_builds_and_computes_its_losses(name):
    cfg = small_config(name)
    model = build(cfg)
    classes = cfg.model.decode_head.num_classes
    batch = dict(
        inputs=[torch.randint(0, 255, (3, CROP, CROP), dtype=torch.uint8)] * 2,
        data_samples=[data_sample(torch.randint(0, classes, (1, CROP, CROP)))] * 2,
    )
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    expected = {'decode.loss_ce', 'aux.loss_ce', *(cfg.get('distillation') or {}).get('losses', ())}
    assert expected == {key for key in losses if 'loss' in key}
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None and p.requires_grad]
    assert idle == [], 'parameters without a gradient would stop plain DDP'


def data_sample(mask: torch.Tensor):
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    return SegDataSample(gt_sem_seg=PixelData(data=mask))


@pytest.mark.parametrize('name', CONFIGS)
def test_widths_and_depths_are_those_of_the_backbone(name):
    model = Config.fromfile(ROOT / 'configs' / name).model
    size = encoder_size(model.backbone.arch)
    assert max(model.backbone.out_indices) == size.depth - 1, 'blocks that are never run'
    assert model.neck.embed_dim == model.auxiliary_head.in_channels == size.embed_dim
    assert list(model.decode_head.in_channels) == [size.embed_dim] * 4
    assert model.backbone.img_size == model.data_preprocessor.size[0]


def test_students_have_the_published_sizes():
    for arch, parameters in (('t', 11_028_284), ('s', 41_997_644)):
        cfg = Config.fromfile(ROOT / f'configs/ade20k/g2sd_vit{arch}_upernet_nosd.py')
        cfg.model.backbone.pop('init_cfg')
        assert sum(p.numel() for p in build(cfg).parameters()) == parameters


def test_rates_follow_from_the_recipe():
    for name, lr, rate, depth in (
        ('vitb_upernet', 1e-4, 0.65, 12),
        ('vitl_upernet', 2e-5, 0.95, 24),
        ('g2sd_vits_upernet', 1e-4, 0.65, 12),
        ('g2sd_vitt_upernet_nosd', 1e-4, 0.65, 12),
        ('g2sd_vits_upernet_from_vitl', 1e-4, 0.65, 12),
    ):
        cfg = Config.fromfile(ROOT / f'configs/ade20k/{name}.py')
        optimizer = cfg.optim_wrapper.optimizer
        assert (optimizer.lr, optimizer.weight_decay, optimizer.betas) == (lr, 0.05, (0.9, 0.999))
        assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == rate
        assert cfg.optim_wrapper.get('clip_grad') is None
        assert max(cfg.model.backbone.out_indices) == depth - 1
        assert 8 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 16
        (schedule,) = cfg.param_scheduler
        assert cfg.train_cfg.max_iters == 160000
        assert 'total' not in schedule  # as long as the run is
        assert cfg.train_cfg.val_interval == cfg.default_hooks.checkpoint.interval == 16000
    # the numbers in the comments of the recipe
    for step, factor in ((0, 1e-6), (750, 0.498), (1500, 0.991), (80000, 0.5), (159999, 6e-6)):
        own = warmup_poly(step, schedule.warmup, cfg.train_cfg.max_iters)
        assert own == pytest.approx(factor, rel=0.05 if step > 10**5 else 1e-3)
    assert layer_decay_scale(0.65, 0, 12) == pytest.approx(0.0037, rel=0.01)
    assert layer_decay_scale(0.95, 0, 24) == pytest.approx(0.28, rel=0.02)
    assert round(160000 * 16 / 20210) == 127


def test_shapes_classes_are_those_of_the_data():
    cfg = Config.fromfile(ROOT / 'configs/shapes/g2sd_vits_upernet.py')
    metainfo = cfg.train_dataloader.dataset.dataset.metainfo
    assert tuple(metainfo.classes) == SEG_CLASSES
    assert [tuple(colour) for colour in metainfo.palette] == list(SEG_PALETTE)


@pytest.fixture(scope='module')
def distilled(tmp_path_factory) -> tuple[Runner, Path, Path]:
    """A student after two steps of stage 2: runner, folder, data."""
    folder = tmp_path_factory.mktemp('distilled')
    data = write_data(folder / 'data')
    cfg = small_config('ade20k/g2sd_vits_upernet.py')
    return train(on_small_data(cfg, data, folder)), folder, data


def test_saved_files_hold_no_teacher(distilled):
    runner, folder, _ = distilled
    own = runner.model.student.state_dict()
    run = torch.load(folder / 'iter_2.pth', weights_only=False)
    plain = torch.load(folder / 'weights.pth', weights_only=True)['state_dict']
    assert set(run['state_dict']) == {f'student.{name}' for name in own}
    assert set(plain) == set(own)
    optimized = sum(len(group['params']) for group in run['optimizer']['param_groups'])
    assert optimized == len(list(runner.model.student.parameters()))
    # by size: not one element more than the student's, and nothing of the teacher's width
    for state in (run['state_dict'], plain):
        assert sum(t.numel() for t in state.values()) == sum(t.numel() for t in own.values())
    backbone = {n: t for n, t in plain.items() if n.startswith('backbone.')}
    assert not any(TEACHER in t.shape for t in backbone.values())


def test_distilled_weights_run_in_plain_mmseg(distilled):
    from mmseg.apis import inference_model, init_model

    runner, folder, data = distilled
    cfg = on_small_data(small_config('ade20k/g2sd_vits_upernet_nosd.py'), data, folder)
    model = init_model(cfg, str(folder / 'weights.pth'), device='cpu')
    assert type(model).__module__.startswith('mmseg.')
    student = runner.model.student.eval()
    student.cfg = cfg
    for image in sorted((data / 'images/validation').glob('*.jpg')):
        plain, own = (inference_model(m, str(image)).seg_logits.data for m in (model, student))
        assert plain.shape == own.shape == (150, *cv2.imread(str(image)).shape[:2])
        torch.testing.assert_close(plain, own, rtol=0, atol=1e-6)


def test_small_images_are_padded_like_crops(distilled):
    runner, _, _ = distilled
    student = runner.model.student.eval()
    image = torch.randint(0, 255, (3, 50, 40), dtype=torch.uint8)
    sample = data_sample(torch.zeros(1, 50, 40))
    sample.set_metainfo(dict(ori_shape=(50, 40), img_shape=(50, 40)))
    with torch.no_grad():
        (answer,) = student.test_step(dict(inputs=[image], data_samples=[sample]))
        normalised = student.data_preprocessor(
            dict(inputs=[image], data_samples=[sample.clone()]), training=False)['inputs']
        assert normalised.shape == (1, 3, CROP, CROP)
        assert not normalised[..., 50:, :].any() and not normalised[..., 40:].any()
        logits = student.decode_head(student.extract_feat(normalised))
    logits = torch.nn.functional.interpolate(logits, (CROP, CROP), mode='bilinear')[0, :, :50, :40]
    torch.testing.assert_close(answer.seg_logits.data, logits, rtol=1e-5, atol=1e-5)


def test_test_time_augmentation(distilled):
    runner, folder, data = distilled
    cfg = on_small_data(small_config('ade20k/g2sd_vits_upernet_nosd.py'), data, folder)
    resize = cfg.tta_pipeline[1].transforms[0]
    assert len(resize) == 6
    for step in resize:
        step.scale = tuple(side // 8 for side in step.scale)
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    tester = Runner.from_cfg(cfg)
    tester.model.module.load_state_dict(runner.model.student.state_dict())
    assert 0 <= tester.test()['mIoU'] <= 100


def test_ten_lines_distil_a_stock_config(tmp_path):
    """A config that mmseg ships, its own data pipeline, optimizer and schedule."""
    import mmseg

    name = 'segformer/segformer_mit-b{}_8xb2-160k_ade20k-512x512.py'
    shipped = str(Path(mmseg.__file__).parent / '.mim/configs' / name)
    cfg = Config.fromfile(shipped.format(0))
    cfg.distillation = dict(
        teacher=dict(
            config=shipped.format(1),
            random_weights=True,
            forward=('backbone', 'decode_head')),
        taps=dict(logits='decode_head.conv_seg'),
        losses=dict(loss_cwd=dict(type='ChannelWiseDivergence', tap='logits')))
    sync_batch_norm(cfg, 'none')
    cfg.model.backbone.init_cfg = None  # a download
    cfg.model.data_preprocessor.size = (CROP, CROP)
    # as the helper expects it, for a moment
    cfg.train_dataloader.dataset = dict(dataset=cfg.train_dataloader.dataset)
    cfg = on_small_data(cfg, write_data(tmp_path / 'data'), tmp_path)
    cfg.train_dataloader.dataset = cfg.train_dataloader.dataset.dataset
    runner = train(cfg)
    assert runner.message_hub.get_scalar('train/loss_cwd').current() > 0
    stock = Config.fromfile(shipped.format(0))
    stock.model.backbone.init_cfg = None
    plain = MODELS.build(dict(sync_batch_norm(stock, 'none').model, _scope_='mmseg'))
    plain.load_state_dict(torch.load(tmp_path / 'weights.pth', weights_only=True)['state_dict'])


@pytest.mark.parametrize('fault', ['label', 'size', 'missing'])
def test_a_faulty_mask_is_skipped_with_its_name_or_stops_the_run(tmp_path, fault):
    data = write_data(tmp_path / 'data')
    mask = data / 'annotations/training/1.png'
    if fault == 'label':
        cv2.imwrite(str(mask), np.full((72, 64), 151, np.uint8))
    elif fault == 'size':
        cv2.imwrite(str(mask), np.ones((30, 30), np.uint8))
    else:
        mask.unlink()
    problem = {'label': r'labels \[150\]', 'size': '30x30 px', 'missing': 'no such file'}[fault]
    cfg = on_small_data(small_config('ade20k/vitb_upernet.py'), data, tmp_path)
    with DATASETS.switch_scope_and_registry('mmseg'):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        strict = DATASETS.build({**cfg.train_dataloader.dataset, 'on_error': 'raise'})
    (note,) = dataset[1]['data_samples'].unreadable
    assert '1.jpg' in note and '1.png' in note
    with pytest.raises(DataError, match=rf'1\.png.*{problem}|{problem}.*1\.png'):
        strict[1]
    assert 'unreadable' not in dataset[0]['data_samples']


def test_masks_of_validation_are_checked_too(tmp_path):
    data = write_data(tmp_path / 'data')
    cv2.imwrite(str(data / 'annotations/validation/2.png'), np.full((50, 40), 200, np.uint8))
    cfg = on_small_data(small_config('ade20k/vitb_upernet.py'), data, tmp_path)
    with pytest.raises(ValueError, match=r'validation/2\.png: labels \[199\], after 1'):
        dataset = DATASETS.build(cfg.val_dataloader.dataset)
        [dataset[i] for i in range(3)]


def test_a_mask_of_ignored_pixels_alone_gives_no_loss_and_no_nan():
    model = build(small_config('ade20k/g2sd_vits_upernet.py'))
    batch = dict(
        inputs=[torch.randint(0, 255, (3, CROP, CROP), dtype=torch.uint8)] * 2,
        data_samples=[data_sample(torch.full((1, CROP, CROP), 255))] * 2,
    )
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    assert losses['decode.loss_ce'] == 0 and losses['aux.loss_ce'] == 0
    assert losses['loss_cwd'] > 0  # the teacher has an opinion on every pixel
    assert torch.isfinite(losses['decode.acc_seg']).all()


REFERENCE = Path(os.environ.get('G2SD_REFERENCE_DATA', 'not set')) / 'eval_refs/ade20k_miou'


@pytest.mark.skipif(
    not REFERENCE.is_dir(), reason='G2SD_REFERENCE_DATA does not name a folder with eval_refs'
)
@pytest.mark.parametrize('predictions', ['predictions', 'predictions_shifted'])
def test_miou_of_both_conventions(predictions):
    expected = json.loads((REFERENCE / 'expected.json').read_text())[predictions]
    from mmseg.evaluation import IoUMetric
    from mmseg.registry import DATASETS as SEG_DATASETS

    cfg = Config.fromfile(ROOT / 'configs/ade20k/vitb_upernet.py')
    dataset = SEG_DATASETS.build(dict(
        type='ADE20KDataset',
        data_root=str(REFERENCE),
        data_prefix=dict(img_path='images', seg_map_path='annotations'),
        pipeline=[s for s in cfg.val_dataloader.dataset.pipeline if s.type != 'Resize']))
    metric = IoUMetric(**{k: v for k, v in cfg.val_evaluator.items() if k != 'type'})
    metric.dataset_meta = dataset.metainfo
    for sample in dataset:
        sample = sample['data_samples']
        name = f'{Path(sample.img_path).stem}.png'
        answer = cv2.imread(str(REFERENCE / predictions / name), cv2.IMREAD_UNCHANGED)
        metric.process({}, [dict(
            pred_sem_seg=dict(data=torch.from_numpy(answer).long() - 1),
            gt_sem_seg=dict(data=sample.gt_sem_seg.data))])
    areas = [sum(parts) for parts in zip(*metric.results, strict=True)]
    with_union = metric.total_area_to_metrics(*areas)['IoU']
    over_all = metric.total_area_to_metrics(*areas, nan_to_num=0)
    assert np.isfinite(with_union).sum() == expected['n_union']
    assert np.nanmean(with_union) == pytest.approx(
        expected['mIoU_over_classes_with_union'], abs=1e-6)
    assert over_all['IoU'].mean() == pytest.approx(expected['official_mIoU_over_150'], abs=1e-6)
    assert float(over_all['aAcc']) == pytest.approx(expected['pixel_acc'], abs=1e-6)
    # what a validation reports is the first, in per cent to two digits
    reported = metric.compute_metrics(metric.results)['mIoU']
    assert reported == pytest.approx(100 * expected['mIoU_over_classes_with_union'], abs=5.1e-3)
