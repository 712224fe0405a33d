"""mmengine's own runner beside configs that only this project's tools read in full."""

from __future__ import annotations

import pytest
from mmengine.config import Config

import g2sd_mm
from g2sd_mm.compat.plain_runs import check_read

from ..helpers.runs import Slope, runner
from ..helpers.toys import refused

BLOCK = dict(teacher=dict(config='a.py', checkpoint='a.pth'), taps=dict(a='b'), losses={})


@pytest.mark.parametrize('part', ['distillation', 'students'])
def test_a_plain_run_does_not_leave_out_the_teacher(tmp_path, part):
    run = runner(tmp_path, Slope())
    run.cfg[part] = dict(BLOCK)
    with refused(f'the config has {part}', 'g2sd_mm.distill_config(cfg)', 'tools/train.py'):
        run.train()
    check_read(run.cfg, trains=False)  # the student alone


def test_a_config_that_was_read_is_run():
    cfg = Config(dict(model=dict(type='ImageClassifier'), distillation=BLOCK))
    check_read(g2sd_mm.distill_config(cfg), trains=True)


@pytest.mark.parametrize(
    'given', [dict(num_classes=3), dict(classes=('a', 'b', 'c'))], ids=['num_classes', 'classes']
)
def test_classes_that_no_head_has_are_refused(given):
    heads = dict(decode_head=dict(num_classes=150), auxiliary_head=[dict(num_classes=150)])
    for trains in (True, False):
        with refused(next(iter(given)), '3 classes', 'the model has 150', 'num_classes=3'):
            check_read(Config(dict(model=heads, **given)), trains)
    heads['decode_head']['num_classes'] = 3
    check_read(Config(dict(model=heads, **given)), trains=True)
    check_read(Config(dict(num_classes=3)), trains=True)  # a model that was built by hand
