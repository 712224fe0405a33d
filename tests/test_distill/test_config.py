"""A ``distillation`` block turns any config into a distilled one."""

from __future__ import annotations

import copy

import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from torch import nn

import g2sd_mm
from g2sd_mm import register_all
from g2sd_mm.distill import SpecificDistiller

from ..helpers.toys import images, labelled, refused, stage1_cfg, words
from .test_specific import LABELS, LOSSES, RESNET, VIT, teacher_block

BLOCK = dict(teacher=teacher_block(), taps=dict(logits='head.fc'), losses=LOSSES)


def stock(model: dict | None = None, **changes) -> Config:
    """A stock mmpretrain config as a person has it."""
    model = model or {key: value for key, value in RESNET.items() if key != '_scope_'}
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


def test_hooks_that_know_a_models_modules_are_shown_the_student():
    hooks = [dict(type='mmdet.YOLOXModeSwitchHook', num_last_epochs=2, priority=48)]
    made = g2sd_mm.distill_config(stock(distillation=BLOCK, custom_hooks=hooks))
    inner = dict(type='mmdet.YOLOXModeSwitchHook', num_last_epochs=2)
    assert made.custom_hooks[0] == dict(type='StudentHook', hook=inner, priority=48)
    with refused('custom_hooks has MeanTeacherHook'):
        g2sd_mm.distill_config(
            stock(distillation=BLOCK, custom_hooks=[dict(type='mmdet.MeanTeacherHook')])
        )


CONVNEXT = dict(type='mmpretrain.ConvNeXt',
                arch=dict(depths=[1, 1, 1, 1], channels=[8, 8, 8, 8]))  # fmt: skip
STAGES = dict(decay_type='stage_wise', decay_rate=0.5, num_layers=6)


@pytest.mark.parametrize(('kind', 'backbone', 'rates'), [
    ('mmpretrain.LearningRateDecayOptimWrapperConstructor', VIT['backbone'],
     dict(layer_decay_rate=0.5, flat_decay_mult=0.0)),
    ('mmseg.LearningRateDecayOptimizerConstructor', CONVNEXT, STAGES),
    ('mmdet.LearningRateDecayOptimizerConstructor', CONVNEXT, STAGES),
])  # fmt: skip
def test_layer_wise_decay_of_the_libraries_finds_the_students_layers(kind, backbone, rates):
    register_all()
    model = {**{k: v for k, v in VIT.items() if k != '_scope_'}, 'backbone': backbone}
    model['head'] = {**model['head'], 'in_channels': 16 if backbone is not CONVNEXT else 8}
    wrapper = dict(
        type='OptimWrapper', constructor=kind, paramwise_cfg=rates,
        optimizer=dict(type='AdamW', lr=8.0, weight_decay=0.5),
    )  # fmt: skip
    adapters = dict(logits=dict(type=nn.Linear, in_features=3, out_features=3, bias=False))
    cfg = stock(model=model, optim_wrapper=wrapper, distillation={**BLOCK, 'adapters': adapters})

    def by_name(built: nn.Module, cfg: Config) -> dict[str, tuple[float, float]]:
        names = {parameter: name for name, parameter in built.named_parameters()}
        made = build_optim_wrapper(built, copy.deepcopy(cfg.optim_wrapper)).optimizer
        groups = made.param_groups
        return {names[p]: (g['lr'], g['weight_decay']) for g in groups for p in g['params']}

    plain = by_name(MODELS.build({**model, '_scope_': 'mmpretrain'}), cfg)
    assert len(set(plain.values())) > 3
    made = g2sd_mm.distill_config(cfg)
    found = by_name(MODELS.build(made.model), made)
    assert found.pop('distillation.adapters.logits.weight') == (8.0, 0.5)
    assert found == {f'student.{name}': values for name, values in plain.items()}


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
