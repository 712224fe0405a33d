"""A ``distillation`` block turns any config into a distilled one."""

from __future__ import annotations

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS

import g2sd_mm
from g2sd_mm.distill import SpecificDistiller

from ..helpers.toys import images, labelled, refused, stage1_cfg, words
from .test_specific import LABELS, LOSSES, RESNET, teacher_block

BLOCK = dict(teacher=teacher_block(), taps=dict(logits='head.fc'), losses=LOSSES)


def stock(**changes) -> Config:
    """A stock mmpretrain config as a person has it."""
    model = {key: value for key, value in RESNET.items() if key != '_scope_'}
    preprocessor = dict(mean=[1.0] * 3, std=[2.0] * 3, num_classes=3)
    return Config(
        dict(
            default_scope='mmpretrain', model=model, data_preprocessor=preprocessor,
            train_cfg=dict(max_epochs=3), **changes,
        )
    )


def test_a_config_without_a_block_is_left_alone():
    cfg = stock()
    assert g2sd_mm.distill_config(cfg) is cfg


def test_the_model_becomes_the_student():
    cfg = g2sd_mm.distill_config(stock(distillation=BLOCK))
    assert cfg.model.type == 'SpecificDistiller'
    assert cfg.model.student.type == 'ImageClassifier'
    assert cfg.model.student._scope_ == 'mmpretrain'
    assert cfg.model.student.data_preprocessor.num_classes == 3
    assert 'data_preprocessor' not in cfg
    assert 'distillation' not in cfg
    assert cfg.train_cfg.max_epochs == 3


def test_the_given_config_stays_as_it_was():
    cfg = stock(distillation=BLOCK)
    before = cfg.to_dict()
    g2sd_mm.distill_config(cfg)
    assert cfg.to_dict() == before


def test_it_builds_and_trains_from_any_scope():
    model = MODELS.build(g2sd_mm.distill_config(stock(distillation=BLOCK)).model)
    assert isinstance(model, SpecificDistiller)
    losses = model(images(4), labelled(LABELS), mode='loss')
    assert set(losses) == {'loss_task', 'loss_dist'}
    sum(losses.values()).backward()


def test_the_hooks_that_it_needs_are_added_once():
    own = [dict(type='EMAHook'), dict(type='WeightsExportHook')]
    cfg = g2sd_mm.distill_config(stock(distillation=BLOCK, custom_hooks=own))
    assert [hook['type'] for hook in cfg.custom_hooks] == [
        'EMAHook', 'WeightsExportHook', 'LossWarmupHook', 'TeacherGuardHook',
    ]


@pytest.mark.parametrize(
    ('change', 'texts'),
    [
        ({'teacher': None}, ("lacking ['teacher'], unknown nothing",)),
        ({'loss': {}}, ("lacking nothing, unknown ['loss']",)),
        ({'taps': None, 'tap': {}}, ("lacking ['taps'], unknown ['tap']",)),
    ],
)
def test_a_wrong_block_is_refused(change, texts):
    block = {k: v for k, v in {**BLOCK, **change}.items() if v is not None}
    with pytest.raises(ValueError, match=words('needs teacher, taps and losses', *texts)):
        g2sd_mm.distill_config(stock(distillation=block))


@pytest.mark.parametrize(
    ('change', 'option'),
    [
        (
            {'optim_wrapper': dict(constructor=f'{scope}{name}')},
            f'optim_wrapper.constructor={name}',
        )
        for scope, name in (
            ('', 'LearningRateDecayOptimWrapperConstructor'),
            ('mmseg.', 'LayerDecayOptimizerConstructor'),
        )
    ]
    + [
        ({'custom_hooks': [hook]}, f'custom_hooks has {hook["type"].split(".")[-1]}')
        for hook in (
            dict(type='YOLOXModeSwitchHook'),
            dict(type='mmdet.SetEpochInfoHook'),
            dict(type='SwitchRecipeHook', schedule=[dict(action_epoch=2, loss=dict(type='A'))]),
        )
    ],
)
def test_stock_parts_that_do_not_find_a_students_modules_are_refused(change, option):
    with refused(option):
        g2sd_mm.distill_config(stock(distillation=BLOCK, **change))
    own = dict(constructor='ViTLayerDecayConstructor')
    hook = dict(type='SwitchRecipeHook', schedule=[dict(action_epoch=2, batch_augments=None)])
    assert g2sd_mm.distill_config(stock(distillation=BLOCK, optim_wrapper=own, custom_hooks=[hook]))


def test_the_projects_block_has_at_most_ten_lines():
    from ..helpers.toys import ROOT

    lines = (ROOT / 'configs' / 'imagenet' / 'g2sd_vits_cls.py').read_text().splitlines()
    start = lines.index('distillation = dict(')
    assert len([line for line in lines[start:] if line.strip()]) <= 10


def test_stage_one_gets_the_guard_of_its_teacher():
    cfg = Config(dict(**stage1_cfg(), custom_hooks=[dict(type='StepSeedHook')]))
    made = g2sd_mm.distill_config(cfg)
    hooks = [hook['type'] for hook in made.custom_hooks]
    assert hooks == ['StepSeedHook', 'LossWarmupHook', 'TeacherGuardHook', 'WeightsExportHook']
    assert (made.model.type, made.model.student.type) == ('SpecificDistiller', 'MaskedStudent')
    assert len(cfg.custom_hooks) == 1
