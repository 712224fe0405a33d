"""Which pixels and images count in the figures of depth."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from mmseg.evaluation.metrics import DepthMetric as Original
from mmseg.registry import METRICS

from g2sd_mm.datasets import depth  # noqa: F401, as configs import it


def figures(truths, predictions=None, **options):
    """Of maps and of 0.9 times them, or of other predictions."""
    metric = METRICS.build(
        dict(type='DepthMetric', min_depth_eval=0.5, max_depth_eval=80.0, **options)
    )
    metric.dataset_meta = {}
    for truth, predicted in zip(truths, predictions or [0.9 * t for t in truths], strict=True):
        sample = dict(pred_depth_map=dict(data=predicted), gt_depth_map=dict(data=truth))
        metric.process({}, [sample])
    return metric.evaluate(len(truths))


@pytest.fixture
def warned(monkeypatch):
    lines = []
    monkeypatch.setattr(
        'g2sd_mm.datasets.depth.print_log',
        lambda line, logger, level: lines.append(line) if level == logging.WARNING else None,
    )
    return lines


@pytest.mark.parametrize('metres', [0.5, 80.0])
def test_both_ends_of_the_range_count(metres, warned):
    assert figures([torch.full((1, 4, 4), metres)])['abs_rel'] == pytest.approx(0.1)
    assert not warned


def test_an_image_of_which_nothing_counts_is_left_out_and_counted(warned):
    maps = [torch.full((1, 4, 4), metres) for metres in (2.0, 0.0, 81.0, 4.0)]
    assert figures(maps)['abs_rel'] == pytest.approx(0.1)
    (line,) = warned
    assert '2 of 4 images' in line
    assert math.isnan(figures(maps[1:3])['rmse']) and len(warned) == 2


def test_figures_of_no_number_are_warned_of(warned):
    maps = [torch.full((1, 4, 4), 2.0)] * 2
    assert math.isnan(figures(maps, [maps[0], maps[0] * math.nan])['abs_rel'])
    (line,) = warned
    assert 'abs_rel' in line and '1 of 2' in line


def test_inside_of_the_range_all_is_as_mmseg_has_it(warned):
    torch.manual_seed(0)
    maps = [1 + 70 * torch.rand(1, 480, 640) for _ in range(2)]
    predictions = [m * (0.5 + torch.rand_like(m)) for m in maps]
    mine = figures(maps, predictions, crop_type='nyu_crop')
    theirs = Original(min_depth_eval=0.5, max_depth_eval=80.0, crop_type='nyu_crop')
    theirs.dataset_meta = {}
    for truth, predicted in zip(maps, predictions, strict=True):
        theirs.process(
            {}, [dict(pred_depth_map=dict(data=predicted), gt_depth_map=dict(data=truth))]
        )
    assert mine == theirs.evaluate(2)
