"""A metric's rule is the task's, whatever a config inherits."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from g2sd_mm.runs.rules import fit_rules

from ..helpers.toys import config


def fitted(checkpoint: dict | None = None, **changes) -> tuple[Config, list[str]]:
    cfg = Config(dict(default_hooks=dict(logger=None, checkpoint=checkpoint), **changes))
    return cfg, fit_rules(cfg)


@pytest.mark.parametrize(('names', 'rule', 'right', 'noted'), [
    ('d1', 'less', 'greater', 1),
    ('abs_rel', 'less', 'less', 0),
    ('abs_rel', ['greater'], 'less', 1),
    ('coco/bbox_mAP', None, 'greater', 0),
    ('theirs', 'less', 'less', 0),
    ('theirs', None, None, 0),
    ('auto', 'less', 'less', 0),
    (['abs_rel', 'd1'], 'less', ['less', 'greater'], 1),
    (['abs_rel', 'theirs'], 'greater', ['less', 'greater'], 1),
    (['abs_rel', 'theirs'], None, None, 0),
    (['abs_rel', 'd1', 'd2'], ['less', 'less'], ['less', 'less'], 0),  # mmengine refuses it
    (None, 'less', 'less', 0),
])
def test_the_best_checkpoint_is_the_best(names, rule, right, noted):
    hook = dict(type='CheckpointHook', save_best=names, rule=rule)
    cfg, notes = fitted(hook)
    assert cfg.default_hooks.checkpoint.rule == right
    assert len(notes) == noted
    assert all('default_hooks.checkpoint.rule' in note for note in notes)


def test_stopping_and_schedules_wait_for_the_same():
    stop = dict(type='EarlyStoppingHook', monitor='d1', rule='less')
    schedules = [
        dict(type='ReduceOnPlateauLR', monitor='mIoU'), dict(type='TheirLR', monitor='mIoU'),
    ]
    cfg, notes = fitted(custom_hooks=[stop], param_scheduler=schedules)
    assert cfg.custom_hooks[0].rule == 'greater'
    assert cfg.param_scheduler[0].rule == 'greater'  # mmengine would take less, whatever it is of
    assert 'rule' not in cfg.param_scheduler[1]
    (note,) = notes
    assert 'custom_hooks.0.rule' in note


@pytest.mark.parametrize('path', ['nyu/g2sd_vits_depth.py', 'coco/g2sd_vits_maskrcnn.py'])
def test_configs_of_the_project_say_it_rightly(path):
    cfg = config(path)
    before = cfg.pretty_text
    assert fit_rules(cfg) == []
    assert cfg.pretty_text == before
