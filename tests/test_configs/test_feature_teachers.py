"""Configs of stage 1 from foundation models, and of what follows: their arithmetic, the table."""

from __future__ import annotations

from itertools import product

import pytest

from g2sd_mm.bench.suites.budget import raw_config
from g2sd_mm.bench.suites.paper import FOUNDATION as TEACHERS
from g2sd_mm.bench.suites.paper import PAPER
from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.distill.teachers import build_teacher

from ..helpers.encoders import timm_state

SIZES = ('vits', 'vitt')
every_student = pytest.mark.parametrize(('size', 'teacher'), list(product(SIZES, TEACHERS)))


def stage1(size: str, teacher: str):
    return raw_config(f'configs/imagenet/g2sd_{size}_generic_{teacher}.py')


@every_student
def test_stage_one_is_the_papers_but_for_its_teacher(size, teacher):
    own, published = stage1(size, teacher), raw_config(f'configs/imagenet/g2sd_{size}_generic.py')
    for key in ('model', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'train_dataloader'):
        assert own[key] == published[key], key
    decoder = own.distillation.adapters.tokens.in_channels
    assert decoder == published.distillation.adapters.tokens.in_channels
    assert own.distillation.losses.loss_tokens.target == 'mean_std'


@every_student
def test_the_adapter_gives_what_the_teacher_has(size, teacher):
    block = stage1(size, teacher).distillation
    state = timm_state(block.teacher.model, num_classes=0)
    width, _, patch, _ = state['patch_embed.proj.weight'].shape
    assert block.adapters.tokens.out_channels == width == 768
    # the grid of 14 rows that the comments speak of, and a class token or one that is made
    assert (14 * patch, 'cls_token' in state) == {
        'dinov2': (196, True), 'dinov3': (224, True), 'siglip2': (224, False)
    }[teacher]  # fmt: skip
    assert (block.teacher.get('cls') == 'mean') == ('cls_token' not in state)


@pytest.mark.parametrize('teacher', TEACHERS)
def test_without_weights_one_line_says_what_to_give(teacher):
    cfg = stage1('vits', teacher).distillation.teacher
    with pytest.raises(CheckpointError) as caught:
        build_teacher(cfg)
    said = str(caught.value)
    for part in (cfg.model, 'distillation.teacher.checkpoint=FILE', 'teacher.pretrained=True'):
        assert part in said
    assert '\n' not in said


@every_student
def test_what_follows_starts_from_its_own_stage_one_and_is_the_papers_otherwise(size, teacher):
    for folder, head in (('imagenet', 'cls'), ('coco', 'maskrcnn'), ('ade20k', 'upernet')):
        own = raw_config(f'configs/{folder}/g2sd_{size}_{head}_{teacher}.py')
        published = raw_config(f'configs/{folder}/g2sd_{size}_{head}.py')
        start = own.model.backbone.init_cfg.pop('checkpoint')
        assert start == f'work_dirs/g2sd_{size}_generic_{teacher}/weights.pth'
        published.model.backbone.init_cfg.pop('checkpoint')
        assert own.to_dict() == published.to_dict()


def test_the_table_has_every_teacher_for_both_students_and_all_tasks():
    rows = PAPER.select(table=['teachers'])
    settings = ('mae (default)', *TEACHERS)
    wanted = {
        (task, method, size, setting)
        for size, setting in product(SIZES, settings)
        for task, method in (('cls', 'g2sd_nosd'), *((t, 'g2sd') for t in ('cls', 'det', 'seg')))
    }
    assert {(r.task, r.method, r.student, r.setting) for r in rows} == wanted
    assert len(rows) == len(wanted)
    main = {row.step for row in PAPER.select(table=['main'])}
    for row in rows:
        assert (row.step in main) == row.setting.endswith('(default)')
        chain = PAPER.chain(row.step)
        generic = f'g2sd_{row.student}_generic' + f'_{row.setting}' * (row.setting in TEACHERS)
        assert generic in chain
        # a teacher that timm fetches needs no run of MAE's pre-training for stage 1
        if row.setting in TEACHERS:
            assert PAPER.step(generic).needs == ()
            assert PAPER.step(generic).options == {'distillation.teacher.pretrained': True}


def test_the_plain_rows_start_from_their_stage_one():
    for size, teacher in product(SIZES, TEACHERS):
        step = PAPER.step(f'g2sd_{size}_{teacher}_cls_nosd')
        place = step.options['model.backbone.init_cfg.checkpoint']
        assert step.needs == (f'g2sd_{size}_generic_{teacher}',)
        assert place == f'work_dirs/{step.needs[0]}/weights.pth'
