"""The table of other systems: whole in both suites, run on request, and what each row uses."""

from __future__ import annotations

import json
import re

import pytest

from g2sd_mm.bench import methods
from g2sd_mm.bench.results import BASELINES as TABLE
from g2sd_mm.bench.suites import uses
from g2sd_mm.bench.suites.baselines import CLASSIFIERS, DENSE, GENERIC
from g2sd_mm.bench.suites.budget import raw_config, work_of
from g2sd_mm.bench.suites.catalogue import MINI
from g2sd_mm.bench.suites.data import find_data
from g2sd_mm.bench.suites.paper import PAPER
from g2sd_mm.bench.suites.uses import described, extra_parameters, uses_of
from g2sd_mm.published import published

from ...helpers.toys import ROOT, image_folder

PAGE = (ROOT / 'docs/baselines.md').read_text()


def of_table(suite):
    return suite.select(table=[TABLE])


def row(suite, method, task='cls', table=TABLE):
    (found,) = [r for r in suite.rows if (r.method, r.task, r.table) == (method, task, table)]
    return found


@pytest.mark.parametrize('suite', [MINI, PAPER], ids=['mini', 'paper'])
def test_every_system_has_its_rows(suite):
    found = {(r.task, r.method) for r in of_table(suite)}
    wanted = {('cls', m) for m in (*CLASSIFIERS, 'tinybert')}
    wanted |= {(task, m) for task in ('cls', 'det', 'seg') for m in GENERIC}
    wanted |= {(task, m) for m, tasks in DENSE.items() for task in tasks}
    more = {('cls', 'deit_mae'), *((task, 'g2sd_plus') for task in ('cls', 'det', 'seg'))}
    more = more if suite is MINI else set()
    assert found == wanted | more
    assert {r.student for r in of_table(suite)} == {'vits'}
    for each in of_table(suite):
        assert methods.METHODS[each.method].source


def test_in_the_small_suite_they_are_run_on_request():
    assert TABLE not in {r.table for r in MINI.select()}
    assert TABLE not in {r.table for r in MINI.select(task=['cls', 'det'])}
    assert {r.table for r in MINI.select(method=['tinybert', 'g2sd'])} == {TABLE, 'main', 'labels'}
    assert [r.method for r in MINI.select(method=['mgd'], task=['seg'])] == ['mgd']
    assert {r.table for r in PAPER.select()} > {TABLE, 'main'}


def test_the_parts_of_tinybert_are_as_long_together_as_other_rows():
    for folder in ('mini', 'baselines'):
        plain = {'mini': 'mini', 'baselines': 'imagenet'}[folder]
        epochs = {
            name: raw_config(f'configs/{name}.py').train_cfg.max_epochs
            for name in (f'{folder}/vits_tinybert_task', f'{folder}/vits_tinybert_cls',
                         f'{plain}/g2sd_vits_cls_nosd')
        }  # fmt: skip
        *parts, whole = epochs.values()
        assert sum(parts) == whole


@pytest.mark.parametrize('method', GENERIC)
def test_what_pre_trains_without_labels_is_as_long_as_stage_1(method):
    for suite in (MINI, PAPER):
        step, stage1 = suite.step(f'vits_{method}'), suite.step('g2sd_vits_generic')
        works = [work_of(raw_config(s.config, s.options)) for s in (step, stage1)]
        assert works[0] == works[1]


def test_full_size_teachers_are_fetched_where_the_suite_has_none():
    assert PAPER.step('vits_proteus').needs == ()
    assert PAPER.step('vits_proteus').options == {'distillation.teacher.pretrained': True}
    assert PAPER.step('vits_ssta_cls').needs == ('vitb_cls',)
    assert set(MINI.step('vits_ssta_cls').needs) == {'vitb_cls', 'vitb_mae'}
    assert not PAPER.step('vits_mgd_maskrcnn').amp and PAPER.step('vits_sami_maskrcnn').amp


# What rows use ------------------------------------------------------------------------------------


def test_a_row_says_what_it_uses():
    found = uses_of(MINI, row(MINI, 'dmae'))
    assert found.labels and found.teachers == ('vitb_mae',)
    # 62 steps of 64 images of 4,000 in an epoch
    share = 62 * 64 / 4000
    assert found.unlabelled == pytest.approx(60 * share, abs=0.01)
    assert found.labelled == pytest.approx(20 * share, abs=0.01)
    assert found.images == 80 * 62 * 64
    alone = uses_of(MINI, row(MINI, 'scratch', table='main'))
    assert (alone.teachers, alone.unlabelled, alone.extra_params_m) == ((), 0.0, 0.0)


def test_tinybert_uses_no_labels_of_its_own():
    found = uses_of(MINI, row(MINI, 'tinybert'))
    assert not found.labels and found.labelled == 0.0
    assert found.teachers == ('vitb_mae', 'vitb_cls')
    assert found.unlabelled == pytest.approx(80 * 62 * 64 / 4000, abs=0.01)
    # one map of width 64 to 128, in both stages that have it
    assert found.extra_params_m == pytest.approx(2 * (64 * 128 + 128) / 1e6, abs=1e-4)


def test_labels_that_only_a_distillation_loss_has_are_labels_too():
    assert uses_of(MINI, row(MINI, 'nkd')).labels
    assert uses_of(MINI, row(MINI, 'soft_kd')).labels


def test_several_teachers_and_fetched_ones_are_named():
    assert uses_of(MINI, row(MINI, 'ssta')).teachers == ('vitb_cls', 'vitb_mae')
    assert uses_of(PAPER, row(PAPER, 'ssta')).teachers == ('vitb_cls', 'vit_base_patch16_224.dino')


def test_parameters_beside_the_student_are_counted():
    linear = 64 * 128 + 128
    assert extra_parameters(MINI.step('vits_relation')) == linear
    assert extra_parameters(MINI.step('vits_proteus')) == 3 * (linear + 2 * 64) + 64
    generation = 2 * (9 * 128 * 128 + 128)
    assert extra_parameters(MINI.step('vits_vitkd_cls')) == 3 * linear + 128 + generation
    assert extra_parameters(MINI.step('vits_mgd_maskrcnn')) == 4 * 2 * (9 * 64 * 64 + 64)
    assert extra_parameters(MINI.step('vits_mkd_cls')) == 0
    # MAE's decoder and pixel head: embedding, mask token, two blocks, norm, prediction
    block = 12 * 32**2 + 13 * 32
    decoder = 64 * 32 + 32 + 32 + 2 * block + 2 * 32 + 32 * 192 + 192
    assert extra_parameters(MINI.step('vits_dmae')) == decoder + linear


def test_arithmetic_is_counted_once_a_step_and_not_again_where_nothing_changed(monkeypatch):
    counted = []
    monkeypatch.setattr(uses, 'training_gflops', lambda step: counted.append(step.name) or 2.0)
    lines = [dict(task='cls', student='vits', method='nkd', table=TABLE, seed=0)]
    (first,) = described(MINI, lines)
    seen = {'vits_nkd_cls': 20, 'vitb_cls': 40, 'vitb_mae': 60}  # epochs of 62 steps of 64 images
    assert sorted(counted) == sorted(seen)
    assert first['pflop'] == pytest.approx(2.0 * 20 * 62 * 64 / 1e6, rel=1e-3)
    assert first['teachers_pflop'] == pytest.approx(2.0 * 100 * 62 * 64 / 1e6, rel=1e-3)
    assert described(MINI, lines, before=[json.loads(json.dumps(first))]) == [first]
    assert len(counted) == len(seen)
    described(MINI, lines, before=[{**first, 'images': 0}])
    assert len(counted) == 2 * len(seen)


def test_rows_are_described_by_what_tells_them_apart():
    lines = [
        dict(task='cls', student='vits', method='relation', table=TABLE, seed=seed)
        for seed in range(3)
    ]
    lines.append(dict(task='cls', student='vitb', method='teacher', seed=0))
    (found,) = described(MINI, lines)
    assert (found['method'], found['table'], found['setting']) == ('relation', TABLE, '')
    assert found['teachers'] == ('vitb_mae',) and found['extra_params_m'] == 0.0083


# The page -----------------------------------------------------------------------------------------


def test_the_page_has_every_row_its_configs_and_its_published_figure():
    table = {line.split('|')[1].strip(' `'): line for line in PAGE.splitlines()
             if line.startswith('| `')}  # fmt: skip
    assert set(table) == {r.method for r in of_table(MINI)}
    for method, line in table.items():
        shown = line.split('|')[-2].strip()
        asked = dict(task='cls', student='vits', method=method, table=TABLE, setting='')
        figure = published(asked, 'top1') if ('cls', method) in {
            (r.task, r.method) for r in of_table(PAPER)} else None  # fmt: skip
        assert shown == str(figure or ''), method
        for config in re.findall(r'`(\w+\.py)`', line):
            assert (ROOT / 'configs/mini' / config).is_file()
            of_mini = method in ('deit_mae', 'g2sd_plus')
            assert (ROOT / 'configs/baselines' / config).is_file() or of_mini
    named = set(re.findall(r'^## .*$', PAGE, re.MULTILINE))
    for method in table:
        assert any(f'`{method}`' in heading for heading in named), method


# Data of one's own --------------------------------------------------------------------------------


def test_a_teacher_that_is_no_row_learns_the_task_of_its_students(tmp_path):
    for split in ('train', 'val'):
        image_folder(tmp_path / 'pets' / split, classes=4, each=2)
    suite = find_data([str(tmp_path / 'pets')]).apply(MINI)
    for name in ('regnety_cls', 'vits_deit_cls', 'vits_dmae_cls'):
        assert suite.step(name).options['num_classes'] == 4, name
    for name in ('vits_tinybert', 'vits_tinybert_task', 'vits_proteus'):
        assert 'num_classes' not in suite.step(name).options, name
    assert TABLE not in {r.table for r in suite.select()}
