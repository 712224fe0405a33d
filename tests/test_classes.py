"""The classes of somebody's own data reach every head, the teacher, the data and their checks."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from g2sd_mm.errors import UserError

from .toys import ROOT, config


def test_the_number_of_classes_goes_where_it_is_needed():
    cfg = config('imagenet/g2sd_vits_cls.py', num_classes=20)
    assert cfg.model.head.num_classes == 20
    assert cfg.data_preprocessor.num_classes == 20
    assert cfg.distillation.teacher.overrides == {'model.head.num_classes': 20}
    assert cfg.val_evaluator.topk == (1, 5)


def test_top_five_of_fewer_classes_does_not_exist():
    cfg = config('imagenet/vitb_cls.py', num_classes=4)
    assert cfg.val_evaluator.topk == cfg.test_evaluator.topk == (1,)


def test_other_overrides_of_the_teacher_are_kept():
    overrides = {'model.backbone.arch': 'large'}
    cfg = config('imagenet/g2sd_vits_cls.py', **{'distillation.teacher.overrides': overrides})
    assert cfg.distillation.teacher.overrides == {**overrides, 'model.head.num_classes': 1000}


def test_names_of_a_detectors_classes_give_their_number_and_go_to_the_data():
    cfg = config('coco/g2sd_vits_maskrcnn.py', classes=('cat', 'dog'))
    assert cfg.model.roi_head.bbox_head.num_classes == 2
    assert cfg.model.roi_head.mask_head.num_classes == 2
    datasets = (
        cfg.train_dataloader.dataset.dataset,
        cfg.val_dataloader.dataset,
        cfg.test_dataloader.dataset,
    )
    assert [d.metainfo.classes for d in datasets] == [('cat', 'dog')] * 3
    # its teacher runs no head that knows classes: one trained on other classes will do
    assert cfg.distillation.teacher.overrides == {}


def test_stage_1_has_no_classes_to_set():
    teacher = config('shapes/g2sd_vits_generic.py').distillation.teacher
    assert config('shapes/g2sd_vits_generic.py', num_classes=7).distillation.teacher == teacher


def test_a_segmentors_classes_go_to_the_teacher_and_the_check_of_masks_too():
    cfg = config('ade20k/g2sd_vits_upernet.py', num_classes=7)
    assert cfg.model.decode_head.num_classes == cfg.model.auxiliary_head.num_classes == 7
    assert cfg.distillation.teacher.overrides == {'model.decode_head.num_classes': 7}
    pipelines = (
        cfg.train_pipeline,
        cfg.train_dataloader.dataset.dataset.pipeline,
        cfg.val_dataloader.dataset.pipeline,
        cfg.test_dataloader.dataset.pipeline,
    )
    for pipeline in pipelines:
        (check,) = [step for step in pipeline if step.type == 'CheckMasks']
        assert check.num_classes == 7


def test_heads_in_a_list_are_found():
    heads = [dict(num_classes=80), dict(num_classes=80)]
    cfg = config('coco/g2sd_vits_maskrcnn_nosd.py', **{'model.cascade': heads, 'num_classes': 3})
    assert [head.num_classes for head in cfg.model.cascade] == [3, 3]


def test_names_and_number_must_agree():
    with pytest.raises(UserError, match='num_classes=3, but classes has 2 names'):
        config('coco/g2sd_vits_maskrcnn.py', num_classes=3, classes=('cat', 'dog'))


@pytest.mark.parametrize(
    ('example', 'number'),
    [('coco/coco_mini_example.py', 3), ('ade20k/custom_masks_vits_upernet.py', 133)],
)
def test_examples_of_own_data_are_short_and_whole(example, number):
    settings = Config.fromfile(ROOT / 'configs' / example).pretty_text
    assert 'coco_mini' in settings or 'coco_semantic133' in settings
    cfg = config(example)
    head = cfg.model.get('decode_head') or cfg.model.roi_head.bbox_head
    assert head.num_classes == number
    for place in ('data/coco/', 'ADEChallengeData2016'):
        loaders = (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader)
        assert place not in str(loaders)
        assert place not in str(cfg.test_evaluator)
