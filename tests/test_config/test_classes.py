"""The classes of somebody's own data reach every head, the teacher, the data and their checks."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from g2sd_mm.config.classes import apply_classes, class_counts
from g2sd_mm.config.load import load_config
from g2sd_mm.errors import UserError

from ..helpers.toys import ROOT, config, words


def test_the_number_of_classes_goes_where_it_is_needed():
    cfg = config('imagenet/g2sd_vits_cls.py', num_classes=20)
    assert cfg.model.head.num_classes == 20
    assert cfg.data_preprocessor.num_classes == 20
    assert cfg.distillation.teacher.overrides == {'model.head.num_classes': 20}
    assert cfg.val_evaluator.topk == (1, 5)


def test_the_teacher_of_a_hook_gets_the_number_too():
    cfg = Config.fromfile(ROOT / 'configs' / 'imagenet' / 'g2sd_vits_cls.py')
    cfg.custom_hooks = [dict(type='DistillationHook', **cfg.pop('distillation'))]
    cfg.num_classes = 20
    apply_classes(cfg)
    assert cfg.custom_hooks[0].teacher.overrides == {'model.head.num_classes': 20}


def test_top_five_of_fewer_classes_does_not_exist():
    cfg = config('imagenet/vitb_cls.py', num_classes=4)
    assert cfg.val_evaluator.topk == cfg.test_evaluator.topk == (1,)


EVALUATORS = [
    dict(type='Accuracy', topk=(1, 5)),
    [dict(type='Accuracy', topk=(1, 5)), dict(type='SingleLabelMetric', items=['precision'])],
    dict(type='Evaluator', metrics=[dict(type='mmpretrain.Accuracy', topk=5)]),
    dict(type='SingleLabelMetric', items=['precision', 'recall']),
    [dict(type='MultiLabelMetric')],
]


@pytest.mark.parametrize('evaluator', EVALUATORS)
def test_only_accuracies_lose_their_top_five(evaluator, tmp_path):
    """Whatever else is measured, in whatever arrangement, stays as it was."""
    file = tmp_path / 'x.py'
    base = ROOT / 'configs/imagenet/vitb_cls.py'
    value = repr(evaluator)
    if isinstance(evaluator, dict):  # in place of the base's
        value = f'dict(_delete_=True, **{value})'
    file.write_text(
        f"_base_ = '{base}'\nnum_classes = 3\nval_evaluator = {value}\ntest_evaluator = {value}\n"
    )
    cfg = load_config(str(file)).to_dict()
    for found in (cfg['val_evaluator'], cfg['test_evaluator']):
        for metric, given in zip(metrics_in(found), metrics_in(evaluator), strict=True):
            accuracy = given['type'].endswith('Accuracy')
            assert metric == ({**given, 'topk': (1,)} if accuracy else given)


def metrics_in(evaluator) -> list[dict]:
    if isinstance(evaluator, dict):
        evaluator = evaluator.get('metrics', [evaluator])
    return list(evaluator)


@pytest.mark.parametrize(('classes', 'ranks'), [(5, (1, 5)), (4, (1,)), (2, (1,)), (1, (1,))])
def test_a_stock_config_with_few_classes_in_its_head_too(classes, ranks):
    """Without ``num_classes`` at the top, which is this project's way to say it."""
    cfg = Config(dict(
        model=dict(type='ImageClassifier', head=dict(num_classes=classes)),
        val_evaluator=dict(type='Accuracy', topk=(1, 5)),
    ))  # fmt: skip
    apply_classes(cfg)
    assert cfg.val_evaluator.topk == ranks


def mask2former(weights, **counts) -> Config:
    loss = dict(type='CrossEntropyLoss', class_weight=weights)
    return Config(dict(
        num_classes=2, model=dict(type='Mask2Former', panoptic_head=dict(**counts, loss_cls=loss)),
    ))  # fmt: skip


@pytest.mark.parametrize(
    'counts', [dict(num_classes=3), dict(num_things_classes=3, num_stuff_classes=0)]
)
def test_heads_that_count_things_and_weights_of_their_classes_too(counts):
    cfg = mask2former([1.0] * 3 + [0.1], **counts)
    apply_classes(cfg)
    head = cfg.model.panoptic_head
    assert head[next(iter(counts))] == 2 and head.loss_cls.class_weight == [1.0, 1.0, 0.1]
    assert list(class_counts(cfg.model)) == [2]


def test_things_beside_stuff_are_counted_together_and_not_set_by_one_number():
    cfg = mask2former([1.0] * 4 + [0.1], num_things_classes=3, num_stuff_classes=1)
    cfg.model.bbox_head = dict(num_classes=3)  # of the things, as in Panoptic FPN
    before = cfg.model.to_dict()
    with pytest.raises(UserError, match=words('num_things_classes', 'num_stuff_classes')):
        apply_classes(cfg)
    assert list(class_counts(cfg.model)) == [3, 4]
    cfg.num_classes = 4  # the sum, as stock configs have it
    apply_classes(cfg)
    assert cfg.model.to_dict() == before


def test_a_head_that_compares_with_the_words_of_a_text_has_room_for_many():
    """As mmdet's Grounding DINO, whose published weights have 256 for any data."""
    head = dict(type='GroundingDINOHead', num_classes=256, contrastive_cfg=dict(max_text_len=256))
    cfg = Config(dict(num_classes=2, model=dict(type='GroundingDINO', bbox_head=head)))
    apply_classes(cfg)
    assert cfg.model.bbox_head.num_classes == 256 and not list(class_counts(cfg.model))


@pytest.mark.parametrize(('given', 'number', 'text'), [
    (dict(num_classes=171), 20, dict(dataset_name='voc')),
    (dict(classes=('a', 'b')), 2, dict(dataset_name=None, vocabulary=['a', 'b'])),
])  # fmt: skip
def test_a_network_that_reads_the_names_of_its_classes_takes_names_alone(given, number, text):
    """As mmseg's SAN, whose number of classes comes from a base for other data."""
    head = dict(type='SideAdapterCLIPHead', num_classes=20)
    cfg = Config(dict(model=dict(text_encoder=dict(dataset_name='voc'), decode_head=head), **given))
    apply_classes(cfg)
    assert cfg.model.decode_head.num_classes == number
    assert cfg.model.text_encoder == text


def test_weights_of_other_classes_have_to_be_given():
    cfg = mask2former([1.0, 0.5, 2.0], num_classes=3)
    with pytest.raises(UserError, match=words('model.panoptic_head.loss_cls.class_weight')):
        apply_classes(cfg)
    cfg.merge_from_dict({'model.panoptic_head.loss_cls.class_weight': [1.0, 0.5]})
    apply_classes(cfg)
    assert cfg.model.panoptic_head.loss_cls.class_weight == [1.0, 0.5]


def test_names_go_to_every_data_set_that_is_joined_or_mixed():
    own = dict(type='CocoDataset', pipeline=[dict(type='CheckMasks', num_classes=80)])
    joined = dict(type='ConcatDataset', datasets=[own, dict(own)])
    mixed = dict(
        type='MultiImageMixDataset', dataset=joined,
        pipeline=[dict(type='CheckMasks', num_classes=80)],
    )  # fmt: skip
    cfg = Config(dict(
        classes=('cat', 'dog'), model=dict(type='MaskRCNN'), train_dataloader=dict(dataset=mixed),
    ))  # fmt: skip
    apply_classes(cfg)
    outer = cfg.train_dataloader.dataset
    assert [d.metainfo.classes for d in outer.dataset.datasets] == [('cat', 'dog')] * 2
    parts = (outer, *outer.dataset.datasets)
    assert [part.pipeline[0].num_classes for part in parts] == [2, 2, 2]


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


def test_a_teacher_without_a_config_has_no_classes_to_set():
    teachers = config('mini/vits_ssta_cls.py', num_classes=20).distillation.teachers
    assert teachers.supervised.overrides == {'model.head.num_classes': 20}
    assert 'overrides' not in teachers.assistant
