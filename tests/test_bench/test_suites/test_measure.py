"""The arithmetic of task models, and of training steps with and without a teacher."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS

import g2sd_mm
from g2sd_mm.bench.suites.budget import raw_config, workload
from g2sd_mm.bench.suites.measure import (
    agreed_metrics,
    gflops,
    measure_config,
    measure_model,
    parameters_in_millions,
    training_gflops,
)
from g2sd_mm.bench.suites.suites import Row, Step, Suite
from g2sd_mm.bench.suites.uses import uses_of
from g2sd_mm.datasets.shapes import ensure_shapes
from g2sd_mm.errors import UserError
from g2sd_mm.models.backbones import G2SDViTDet
from g2sd_mm.seeding import Generators
from g2sd_mm.tasks import TASKS

from ...helpers import odd_coco, small_masks
from ...helpers.toys import ROOT, words


def convolutions(model: torch.nn.Module, image_size: int, task) -> float:
    """Multiply-adds of every convolution that runs, in 1e9, twice."""
    total, hooks = [], []

    def count(layer, inputs, output):
        total.append(output[0].numel() * layer.weight[0].numel())

    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d):
            hooks.append(layer.register_forward_hook(count))
    gflops(model, image_size, task)
    for hook in hooks:
        hook.remove()
    return 2 * sum(total) / 1e9


def test_a_detector_is_counted_without_its_heads_on_regions(tmp_path):
    g2sd_mm.register_all()
    data = odd_coco.write_set(tmp_path)
    cfg = odd_coco.small('configs/coco/g2sd_vits_maskrcnn_nosd.py', data, tmp_path)
    model = MODELS.build(dict(cfg.model, _scope_='mmdet'))
    counted = gflops(model, 128, TASKS['det'])
    assert counted > convolutions(model, 128, TASKS['det']) > 0
    # four times the area is four times the convolutions and more than that of attention
    assert gflops(model, 256, TASKS['det']) > 3.9 * counted
    whole = parameters_in_millions(model)
    model.roi_head = torch.nn.Identity()
    assert gflops(model, 128, TASKS['det']) == counted
    assert parameters_in_millions(model) < whole


def test_a_detector_is_counted_at_its_own_size_and_not_at_that_of_its_pre_training():
    model = torch.nn.Module()
    model.backbone = G2SDViTDet(
        dict(embed_dim=24, depth=1, num_heads=3, patch_size=16), img_size=(64, 96),
        pretrain_img_size=32, window_size=2, global_blocks=(0,),
    )
    model.forward = model.backbone.forward
    whole = gflops(model, (64, 96))
    assert measure_model(model)['gflops'] == round(whole, 4) > 2 * gflops(model, 32)


def test_a_segmentor_is_counted_up_to_its_logits():
    g2sd_mm.register_all()
    cfg = small_masks.small_config('ade20k/g2sd_vits_upernet_nosd.py')
    model = MODELS.build(dict(cfg.model, _scope_='mmseg'))
    counted = gflops(model, small_masks.CROP, TASKS['seg'])
    assert counted > convolutions(model, small_masks.CROP, TASKS['seg']) > 0
    model.auxiliary_head = None  # not used in prediction
    assert gflops(model, small_masks.CROP, TASKS['seg']) == counted


def test_metrics_are_in_percent_under_their_agreed_names():
    found = agreed_metrics({'coco/bbox_mAP': 0.5, 'coco/segm_mAP': 0.25, 'coco/bbox_mAP_50': 0.9})
    assert found == {'bbox_mAP': 50, 'segm_mAP': 25}
    assert agreed_metrics({'accuracy/top1': 80.0, 'mIoU': 40.0, 'imagenet_c/mCE': 60.0}) == {
        'top1': 80, 'mIoU': 40, 'mCE': 60
    }


def test_of_a_network_whose_input_is_not_known_the_parameters_are_counted():
    """A backbone of another library, in a row of one's own."""
    model = torch.nn.Module()
    model.backbone = torch.nn.Linear(9, 999)
    assert measure_model(model) == {'params_m': 0.01}


# Training -----------------------------------------------------------------------------------------

CONFIGS = 'configs/shapes'


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    """Options that name a few pictures of all classes."""
    folder = tmp_path_factory.mktemp('pictures')
    root = ensure_shapes(folder, task='cls', train=20, val=10, size=64, seed=0)
    return {'train_dataloader.dataset.dataset.data_root': f'{root}/train'}


def test_training_is_three_times_prediction_but_for_the_slope_of_the_pixels(pictures):
    step = Step(f'{CONFIGS}/g2sd_vits_cls_nosd.py', options=pictures)
    forward = measure_config(step.config)['gflops']
    assert 2.8 * forward < training_gflops(step) <= 3 * forward + 1e-4  # which is rounded


def test_a_teacher_is_counted_once_and_never_backwards(pictures):
    plain, taught = (
        training_gflops(Step(f'{CONFIGS}/g2sd_vits_cls{end}.py', options=pictures))
        for end in ('_nosd', '')
    )
    teacher = measure_config(f'{CONFIGS}/vitb_cls.py')['gflops']
    assert teacher < taught - plain < 1.1 * teacher  # with the adapter


def test_a_hook_uses_what_the_same_block_uses(pictures, tmp_path):
    block = dict(
        teacher=dict(
            config=f'{CONFIGS}/vitb_cls.py', checkpoint='work_dirs/vitb_cls/weights.pth',
            forward=('backbone', 'head')),
        taps=dict(logits='head.fc'),
        losses=dict(
            loss_nkd=dict(
                type='NKDLoss', tap='logits', inputs=dict(target='batch.gt_label'))))  # fmt: skip
    base = [f'_base_ = {str(ROOT / CONFIGS / "g2sd_vits_cls_nosd.py")!r}',
            'model = dict(head=dict(loss=dict(loss_weight=0.0)))']  # fmt: skip
    hook = dict(type='DistillationHook', **block)
    found = []
    for name, entry in ('block', f'distillation = {block}'), ('hook', f'custom_hooks = [{hook}]'):
        (tmp_path / f'{name}.py').write_text('\n'.join([*base, entry]))
        needed = [Step(f'{CONFIGS}/vitb_mae.py'), Step(f'{CONFIGS}/vitb_cls.py', ('vitb_mae',))]
        step = Step(str(tmp_path / f'{name}.py'), ('vitb_cls',), pictures)
        suite = Suite(name='toy', steps=(*needed, step), rows=(row := Row('cls', name, name),))
        work = workload(raw_config(step.config, step.options))
        found.append((uses_of(suite, row), work, training_gflops(step)))
    (tmp_path / 'both.py').write_text("_base_ = './block.py'\n" + entry)
    with pytest.raises(UserError, match=words('several teachers', 'distillation.teachers')):
        training_gflops(Step(str(tmp_path / 'both.py'), options=pictures))
    assert found[0] == found[1]
    assert found[0][0].labels and found[0][0].teachers == ('vitb_cls',)


def test_a_meta_step_is_counted_by_how_often_it_comes(pictures):
    """Half a batch: 3 passes of the student with a gradient twice, 3 without; 2 of the teacher."""
    both = (f'configs/mini/vits_{row}_cls.py' for row in ('soft_kd', 'mkd'))
    plain, meta = (training_gflops(Step(config, options=pictures)) for config in both)
    student = measure_config('configs/mini/vits_soft_kd_cls.py')['gflops']
    teacher = measure_config('configs/mini/vitb_cls.py')['gflops']
    expected = (2 * 3 * student + 3 * student + 2 * teacher) / 2 / 10
    assert meta - plain == pytest.approx(expected, rel=0.03)


def test_stage_1_is_counted_on_what_is_not_hidden(pictures):
    shown = Step(f'{CONFIGS}/g2sd_vits_generic.py', options=pictures)
    most = {**shown.options, 'model.mask_ratio': 0.5}
    counted = training_gflops(shown)
    assert 0 < counted < training_gflops(Step(shown.config, options=most))


def test_without_images_there_is_no_figure_and_draws_stay_as_they_were(pictures):
    lacking = {'train_dataloader.dataset.dataset.data_root': '/no/such/folder'}
    assert training_gflops(Step(f'{CONFIGS}/g2sd_vits_cls_nosd.py', options=lacking)) is None
    torch.manual_seed(3)
    before = Generators()
    training_gflops(Step(f'{CONFIGS}/g2sd_vits_cls_nosd.py', options=pictures))
    assert Generators().same(before)
