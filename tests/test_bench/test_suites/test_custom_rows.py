"""Rows of one's own: what a config tells of itself, and that a record stays the suite's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from g2sd_mm.bench.reports.page import render
from g2sd_mm.bench.suites.catalogue import MINI, SUITES
from g2sd_mm.bench.suites.data import find_data
from g2sd_mm.bench.suites.derived import refuse_left_out, smoke, with_custom_rows
from g2sd_mm.bench.suites.paper import PAPER
from g2sd_mm.bench.suites.run import run_suite
from g2sd_mm.errors import UserError

from ...helpers.toys import ROOT, image_folder, words
from .fakes import ALL, suite

QUIET = {'say': lambda line: None}


def config(folder: Path, name: str, base: str, *lines: str) -> str:
    file = folder / f'{name}.py'
    file.write_text('\n'.join([f"_base_ = '{ROOT}/configs/{base}.py'", *lines]))
    return str(file)


@pytest.fixture
def idea(tmp_path) -> str:
    """Another loss in stage 2."""
    return config(
        tmp_path, 'my_idea', 'mini/g2sd_vits_cls',
        'distillation = dict(losses=dict(loss_nkd=dict(tau=4.0)))',
    )  # fmt: skip


def test_a_config_says_what_its_row_is(idea):
    suite = with_custom_rows(MINI, [idea])
    (row,) = set(suite.rows) - set(MINI.rows)
    assert (row.task, row.method, row.student, row.table) == ('cls', 'my_idea', 'vits', 'main')
    assert row.data == 'configs/shapes_test/cls.py'  # what the suite's rows are judged by
    assert suite.chain(row.step) == ['vitb_mae', 'g2sd_vits_generic', 'vitb_cls', 'my_idea']
    assert suite.select(method=['my_idea']) == [row]


@pytest.mark.parametrize(
    ('base', 'task', 'student', 'amp'),
    [('imagenet/g2sd_vitt_cls', 'cls', 'vitt', True),
     ('coco/g2sd_vits_maskrcnn', 'det', 'vits', False),
     ('ade20k/g2sd_vits_upernet', 'seg', 'vits', True)],
)
def test_the_papers_suite_takes_one_too(tmp_path, base, task, student, amp):
    """In the precision that the task's stage 2 has."""
    suite = with_custom_rows(PAPER, [config(tmp_path, 'mine', base)])
    row = suite.rows[-1]
    assert (row.task, row.student, suite.step('mine').amp) == (task, student, amp)


def test_another_network_has_its_own_name(tmp_path):
    file = config(tmp_path, 'mine', 'mini/g2sd_vits_cls',
                  "model = dict(backbone=dict(arch='tiny'))")  # fmt: skip
    assert with_custom_rows(MINI, [file]).rows[-1].student == 'tiny'
    file = config(tmp_path, 'stock', 'mini/g2sd_vits_cls',
                  "model = dict(backbone=dict(_delete_=True, type='ResNet', depth=18))")
    assert with_custom_rows(MINI, [file]).rows[-1].student == 'ResNet'


def test_a_stage_1_of_ones_own_is_a_run_for_what_comes_behind_it(tmp_path):
    first = config(tmp_path, 'my_stage1', 'mini/g2sd_vits_generic',
                   "distillation = dict(teacher=dict(until='decoder_blocks.1'))")  # fmt: skip
    weights = "init_cfg=dict(checkpoint='work_dirs/my_stage1/weights.pth')"
    second = config(tmp_path, 'my_twin', 'mini/g2sd_vits_cls_nosd',
                    f'model = dict(backbone=dict({weights}))')  # fmt: skip
    suite = with_custom_rows(MINI, [first, second])
    assert [row.method for row in suite.rows[len(MINI.rows) :]] == ['my_twin']
    assert suite.chain('my_twin') == ['vitb_mae', 'my_stage1', 'my_twin']
    with pytest.raises(UserError, match=words('loads work_dirs/my_stage1/', 'before this one')):
        with_custom_rows(MINI, [second, first])


def test_one_that_the_other_options_leave_out_is_refused(tmp_path, idea):
    made = with_custom_rows(MINI, [idea])
    refuse_left_out(made, made.select(method=['scratch', 'my_idea']), [idea])
    with pytest.raises(UserError, match=words(f'--add {idea}')):
        refuse_left_out(made, made.select(method=['scratch']), [idea])
    first = config(tmp_path, 'my_stage1', 'mini/g2sd_vits_generic')
    made = with_custom_rows(MINI, [first])  # nothing is evaluated that begins from it
    with pytest.raises(UserError, match=words(f'--add {first}')):
        refuse_left_out(made, made.select(), [first])


def test_what_no_row_can_be_made_of_is_refused(tmp_path, idea):
    with pytest.raises(UserError, match=words('there is a', 'my_idea already', 'rename the file')):
        with_custom_rows(MINI, [idea, idea])
    with pytest.raises(UserError, match=words('a row scratch already', 'rename the file')):
        with_custom_rows(MINI, [config(tmp_path, 'scratch', 'mini/g2sd_vits_cls')])
    other = tmp_path / 'other.py'
    other.write_text("default_scope = 'mmpose'\nauto_scale_lr = dict(base_batch_size=8)\n")
    with pytest.raises(UserError, match=words("default_scope is 'mmpose'", 'mini suite have')):
        with_custom_rows(MINI, [str(other)])
    other = tmp_path / 'unsized.py'
    other.write_text("default_scope = 'mmpretrain'\n")
    with pytest.raises(UserError, match=words('auto_scale_lr.base_batch_size', 'not there')):
        with_custom_rows(MINI, [str(other)])
    with pytest.raises(UserError, match='no config file'):
        with_custom_rows(MINI, [str(tmp_path / 'none.py')])


@pytest.mark.parametrize(('row', 'told'), [
    ("'my row'", 'my_idea.py'), ('dict(name=5)', 'my_idea.py'), ("dict(claims='g2sdd')", 'g2sdd'),
])  # fmt: skip
def test_a_row_that_nothing_can_be_made_of_is_refused(monkeypatch, idea, row, told):
    monkeypatch.setattr('g2sd_mm.bench.methods._ADDED', {})
    Path(idea).write_text(f'{Path(idea).read_text()}\nrow = {row}\n')
    with pytest.raises(UserError, match=told):
        with_custom_rows(MINI, [idea])


def test_the_suites_own_runs_stay_what_they_were(idea):
    """Else rows that the record has would be trained again."""
    suite = with_custom_rows(MINI, [idea])
    assert suite.steps[: len(MINI.steps)] == MINI.steps
    assert suite.rows[: len(MINI.rows)] == MINI.rows


def test_own_data_and_smoke_runs_take_one_too(tmp_path, idea):
    for split in ('train', 'val'):
        image_folder(tmp_path / 'pictures' / split, classes=2, each=2)
    data = find_data([str(tmp_path / 'pictures')])
    made = smoke(data.apply(with_custom_rows(MINI, [idea])))
    (row,) = (row for row in made.rows if row.method == 'my_idea')
    assert row.data == ''
    options = made.step('my_idea').options
    assert options['num_classes'] == 2 and options['train_cfg.max_epochs'] == 1


@pytest.fixture
def record(fake, tmp_path) -> Path:
    """Of a toy suite that ran somewhere else."""
    run_suite(replace(suite(), record=str(tmp_path / 'record')), suite().rows, (0, 1),
              tmp_path / 'elsewhere', command='the suite', **QUIET)  # fmt: skip
    fake.ran(), fake.ran(1)
    return tmp_path / 'record'


def test_only_the_own_row_is_trained_and_the_record_stays(fake, tmp_path, record):
    toy = with_custom_rows(
        replace(suite(), record=str(record)),
        [config(tmp_path, 'my_idea', 'shapes/g2sd_vits_cls_nosd',
                "model = dict(backbone=dict(init_cfg=None))")],
    )  # fmt: skip
    before = {file: file.read_bytes() for file in record.rglob('*') if file.is_file()}
    results = run_suite(toy, toy.rows, (0, 1), tmp_path / 'out', command='mine', **QUIET)
    assert fake.ran() == ['my_idea']
    assert {file: file.read_bytes() for file in record.rglob('*') if file.is_file()} == before
    assert {row['method'] for row in results['rows']} == {'teacher', 'g2sd', 'scratch', 'my_idea'}
    ways = [(way['command'], way['rows']) for way in results['made']]
    assert ways == [('the suite', 6), ('mine', 2)]
    assert json.loads((tmp_path / 'out' / 'results.json').read_text()) == results
    page = render(results, tmp_path / 'out')
    assert '<td>my_idea &gt; g2sd</td>' in page


def test_what_it_builds_on_is_trained_where_it_is_not_there(fake, tmp_path, record):
    """A record has figures, no weights."""
    toy = with_custom_rows(
        replace(suite(), record=str(record)), [config(tmp_path, 'my_idea', 'shapes/vitb_cls')]
    )
    run_suite(toy, toy.rows, (0,), tmp_path / 'out', **QUIET)
    assert fake.ran() == [ALL[0], 'my_idea']


def test_every_suite_can_be_added_to(tmp_path):
    file = config(tmp_path, 'mine', 'shapes/g2sd_vits_cls')
    for known in SUITES.values():
        assert with_custom_rows(known, [file]).rows[-1].method == 'mine'
