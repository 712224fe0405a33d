"""Curves from work dirs and from a record's files."""

from __future__ import annotations

import pytest

from g2sd_mm.bench import methods
from g2sd_mm.bench.logs import curves, read_scalars
from g2sd_mm.bench.reports.page import show
from g2sd_mm.bench.reports.plots import curve_figures

from .test_html import scalars
from .test_summary import row

TRAINING = [{'loss': 2.0, 'iter': 50, 'step': 50}, {'loss': 1.0, 'iter': 112, 'step': 112}]


def html(block) -> str:
    return show([block])


def line(method: str, run: str, **changes) -> dict:
    return dict(row(method, 50.0), checkpoint=f'gone/seed0/{run}/weights.pth', **changes)


def test_runs_are_their_rows_and_others_have_no_labels(tmp_path):
    folder = tmp_path / 'seed0'
    scalars(folder / 'g2sd_vits_cls', '20260101_000000',
            TRAINING[0], {'accuracy/top1': 40.0, 'step': 1}, TRAINING[1],
            {'accuracy/top1': 60.0, 'step': 2})
    scalars(folder / 'vitb_mae', '20260101_000000', *TRAINING)
    scalars(folder / 'somebody_elses', '20260101_000000', *TRAINING, {'mIoU': 3.0, 'step': 0})
    scalars(folder / 'my_idea_before_1', '20260101_000000', *TRAINING)  # set aside, unvalidated
    (folder / 'empty').mkdir()
    found = curves(tmp_path, [line('g2sd', 'g2sd_vits_cls')])
    assert [(c.task, c.method, c.seed) for c in found] == [('cls', 'g2sd', 0), ('', 'vitb_mae', 0)]
    assert found[0].loss == [(50, 2.0), (112, 1.0)]
    # validations stand where training was: the steps that they name are epochs
    assert found[0].metric == [(50, 40.0), (112, 60.0)]
    assert found[1].metric == []


@pytest.mark.parametrize(
    ('task', 'entry', 'percent'),
    [('det', {'coco/bbox_mAP': 0.25, 'step': 100}, 25.0), ('seg', {'mIoU': 30.0, 'step': 0}, 30.0)],
)
def test_metrics_are_in_percent(tmp_path, task, entry, percent):
    scalars(tmp_path / 'seed0' / 'run', '20260101_000000', TRAINING[0], entry)
    (found,) = curves(tmp_path, [dict(line('g2sd', 'run'), task=task)])
    assert found.metric == [(50, percent)]


def test_a_record_has_its_logs(tmp_path):
    (tmp_path / 'rows').mkdir()
    text = 'step 50: loss 2  lr 0.1\nstep 1: accuracy/top1 40.5  accuracy/top5 90\n'
    (tmp_path / 'rows' / 'shapes_cls_vits_g2sd_seed1.log').write_text(text)
    rows = [dict(line('g2sd', 'x'), seed=1), line('g2sd', 'x'), line('g2sd_nosd', 'x')]
    (found,) = curves(tmp_path, rows)
    assert (found.method, found.seed) == ('g2sd', 1)
    assert found.loss == [(50, 2.0)] and found.metric == [(50, 40.5)]


def test_a_records_logs_are_those_of_its_data(tmp_path):
    (tmp_path / 'rows').mkdir()
    for source, loss in (('flowers', 5), ('shapes', 2)):
        file = tmp_path / 'rows' / f'{source}_cls_vits_g2sd_seed0.log'
        file.write_text(f'step 50: loss {loss}\n')
    rows = [line('g2sd', 'x'), line('g2sd', 'x', table='labels')]  # which has a file of its own
    assert [c.loss for c in curves(tmp_path, rows)] == [[(50, 2.0)]]
    assert [c.loss for c in curves(tmp_path, rows, 'flowers')] == [[(50, 5.0)]]


def logged(tmp_path, *logs: list[dict]) -> list[dict]:
    """What is read of a run that was interrupted between its logs."""
    for number, entries in enumerate(logs):
        scalars(tmp_path, f'2026010{number}_000000', *entries)
    return read_scalars(tmp_path)


def training(*steps: int, loss: float = 1.0) -> list[dict]:
    return [{'loss': loss, 'iter': step, 'step': step} for step in steps]


def test_the_logs_of_an_interrupted_run_are_joined(tmp_path):
    assert read_scalars(tmp_path) == []
    validation = {'accuracy/top1': 9.0, 'step': 1}
    # a checkpoint at 100: what came after it was done again
    first = [*training(50, 100), validation, *training(150, 200)]
    found = logged(tmp_path, first, [*training(150, loss=2.0)], [], training(200, loss=3.0))
    assert found == [
        *training(50, 100), validation, *training(150, loss=2.0), *training(200, loss=3.0)
    ]


def test_a_validation_that_was_made_again_counts_once(tmp_path):
    before, after = ({'accuracy/top1': value, 'step': 1} for value in (9.0, 10.0))
    found = logged(tmp_path, [*training(50, 100), before], [after])  # it had come to its end
    assert found == [*training(50, 100), after]


def test_a_new_run_has_nothing_of_an_earlier_one(tmp_path):
    found = logged(tmp_path, training(50, 100, 150), training(50, 100, loss=2.0))
    assert found == training(50, 100, loss=2.0)


def test_a_line_that_was_cut_is_left_out(tmp_path):
    scalars(tmp_path, '20260101_000000', *training(50, 100))
    (file,) = tmp_path.glob('*/vis_data/scalars.json')
    file.write_text(file.read_text()[:-9])
    assert read_scalars(tmp_path) == training(50)
    file.write_text('')
    assert read_scalars(tmp_path) == []


def test_each_task_has_a_figure_with_a_legend_entry_a_method(tmp_path):
    for seed in (0, 1):
        scalars(tmp_path / f'seed{seed}' / 'g2sd_vits_cls', '20260101_000000', TRAINING[0],
                {'accuracy/top1': 40.0, 'step': 1}, TRAINING[1], {'accuracy/top1': 50.0, 'step': 2})
        scalars(tmp_path / f'seed{seed}' / 'vitb_mae', '20260101_000000', *TRAINING)
    rows = [dict(line('g2sd', 'g2sd_vits_cls'), seed=seed) for seed in (0, 1)]
    labelled, unlabelled = map(html, curve_figures(curves(tmp_path, rows)))
    assert labelled.count('>g2sd</text>') == 1
    assert 'top1 (%)' in labelled and 'training loss and top1' in labelled
    assert unlabelled.count('>vitb_mae</text>') == 1
    assert list(curve_figures([])) == []


def test_the_losses_of_several_teachers_are_shown_apart(tmp_path):
    entries = [{**entry, 'loss_a': 0.5, 'loss_b': 0.25 + step} for step, entry in
               enumerate(TRAINING)]  # fmt: skip
    scalars(tmp_path / 'seed0' / 'two', '20260101_000000', *entries)
    single = [{**entry, 'loss_tokens': entry['loss']} for entry in TRAINING]
    scalars(tmp_path / 'seed0' / 'one', '20260101_000000', *single)
    one, two = sorted(curves(tmp_path, []), key=lambda curve: curve.method)
    assert not one.terms
    steps = [entry['iter'] for entry in TRAINING]
    assert two.terms == {
        'loss_a': [(step, 0.5) for step in steps],
        'loss_b': [(step, 0.25 + i) for i, step in enumerate(steps)],
    }
    (figure,) = map(html, curve_figures([one, two]))
    for name in ('one', 'two', 'two a', 'two b'):
        assert figure.count(f'>{name}</text>') == 1
    assert 'as of several teachers' in figure
    assert 'several teachers' not in next(map(html, curve_figures([one])))


def test_students_are_told_apart(tmp_path):
    rows = [dict(line('teacher', 'vitb_cls'), student='vitb')]
    for student in ('vits', 'vitt'):
        rows.append(dict(line('g2sd', f'g2sd_{student}_cls'), student=student))
    for row_ in rows:
        run = row_['checkpoint'].split('/')[2]
        scalars(tmp_path / 'seed0' / run, '20260101_000000', TRAINING[0],
                {'accuracy/top1': 40.0, 'step': 1}, TRAINING[1], {'accuracy/top1': 50.0, 'step': 2})
    found = curves(tmp_path, rows)
    assert {(c.method, c.student) for c in found} == {
        ('teacher', 'vitb'), ('g2sd', 'vits'), ('g2sd', 'vitt')
    }
    (figure,) = map(html, curve_figures(found))
    for name in ('g2sd vits', 'g2sd vitt', 'teacher'):
        assert figure.count(f'>{name}</text>') == 1
        assert methods.colour(name) in figure
    assert 'One line a seed and student.' in figure and 'stroke-dasharray: 4.44' in figure
    (alone,) = map(html, curve_figures([curve for curve in found if curve.student != 'vitt']))
    assert '>g2sd</text>' in alone and 'One line a seed.' in alone


def test_a_single_validation_is_no_curve(tmp_path):
    scalars(tmp_path / 'seed0' / 'run', '20260101_000000', *TRAINING,
            {'accuracy/top1': 40.0, 'step': 2})
    (figure,) = map(html, curve_figures(curves(tmp_path, [line('g2sd', 'run')])))
    assert 'training loss.' in figure and '>g2sd</text>' in figure
    assert 'top1' not in figure
