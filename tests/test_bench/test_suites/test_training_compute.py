"""The arithmetic of a training step, with and without a teacher."""

from __future__ import annotations

import pytest
import torch

from g2sd_mm.bench.suites.measure import measure_config
from g2sd_mm.bench.suites.suites import Step
from g2sd_mm.bench.suites.training_compute import training_gflops
from g2sd_mm.datasets.shapes import ensure_shapes
from g2sd_mm.seeding import Generators

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
