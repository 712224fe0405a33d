"""Means, spreads, retention, verdicts and the tables made of them."""

from __future__ import annotations

import pytest

from benchmarks.readme import markdown_table
from g2sd_mm.bench.reports.summary import (
    headlines,
    paired,
    summarise,
    t_quantile,
    verdicts,
)
from g2sd_mm.bench.reports.tables import text_table


def row(method: str, value: float | None, seed: int = 0, task: str = 'cls') -> dict:
    """A line of ``results.json``; without a value, a failed one."""
    line = dict(task=task, method=method, student='vits', seed=seed, config='c.py')
    if value is None:
        return dict(line, error='out of memory')
    metric = {'cls': 'top1', 'det': 'bbox_mAP', 'seg': 'mIoU', 'depth': 'abs_rel'}[task]
    return dict(
        line, metrics={metric: value}, params_m=1.25, gflops=0.5, train_seconds=10.0,
        total_seconds=30.0, dataset='shapes', checkpoint='weights.pth',
    )


def rows(**values: tuple) -> list[dict]:
    """method -> values of seeds 0, 1, ..."""
    return [row(m, v, seed) for m, vs in values.items() for seed, v in enumerate(vs)]


def by_method(lines) -> dict:
    return {line.method: line for line in lines}


def test_mean_and_sample_deviation_over_seeds():
    (line,) = summarise(rows(g2sd=(70.0, 72.0, 74.0)))
    assert line.mean == pytest.approx(72)
    assert line.spread == pytest.approx(2)
    assert (line.params_m, line.gflops, line.own_seconds, line.total_seconds) == (1.25, 0.5, 10, 30)


def test_times_are_medians_over_the_seeds_that_ended():
    lines = rows(g2sd=(70.0, 72.0, 74.0, None))
    for line, own, total in zip(lines, (10.0, 90.0, 20.0), (300.0, 30.0, 40.0), strict=False):
        line |= dict(train_seconds=own, total_seconds=total)
    (found,) = summarise(lines)
    assert (found.own_seconds, found.total_seconds) == (20, 40)
    (failed,) = summarise(rows(g2sd=(None,)))
    assert failed.own_seconds is failed.total_seconds is None


def test_of_errors_less_is_better():
    found = {'teacher': 8.0, 'g2sd': 10.0, 'scratch': 16.0, 'g2sd_nosd': 12.0}
    lines = summarise([row(name, value, task='depth') for name, value in found.items()])
    assert all(line.lower_is_better for line in lines)
    assert by_method(lines)['g2sd'].retained == pytest.approx(80)
    assert by_method(lines)['scratch'].retained == pytest.approx(50)
    order, *said = verdicts(lines)
    assert order == (
        'depth (abs_rel): teacher 8.00 < g2sd 10.00 < g2sd_nosd 12.00 < scratch 16.00'
    )
    assert any('g2sd - scratch = -6.00, less is better' in line for line in said)
    (sentence,) = headlines(lines)
    assert '-2.0 against its plain twin' in sentence and 'less is better' in sentence
    (better,) = summarise([row('g2sd', 70.0)])
    assert not better.lower_is_better


def test_one_seed_has_no_spread():
    (line,) = summarise(rows(g2sd=(70.0,)))
    assert line.spread is None
    assert '±' not in text_table([line])


def test_retention_is_of_the_teacher_of_the_task():
    lines = by_method(summarise(rows(teacher=(80.0,), g2sd=(60.0,))))
    assert lines['teacher'].retained == pytest.approx(100)
    assert lines['g2sd'].retained == pytest.approx(75)
    (alone,) = summarise(rows(g2sd=(60.0,)))
    assert alone.retained is None


def test_retention_does_not_depend_on_where_the_teacher_stands():
    """A matrix that was made in parts may have its teacher last."""
    lines = by_method(summarise(rows(g2sd=(60.0,), teacher=(80.0,))))
    assert lines['g2sd'].retained == pytest.approx(75)


def test_retention_is_over_the_seeds_that_both_have():
    lines = by_method(summarise(rows(teacher=(80.0, 100.0, None), g2sd=(60.0, None, 90.0))))
    assert lines['g2sd'].retained == pytest.approx(75)
    lines = by_method(summarise(rows(teacher=(80.0, None), g2sd=(None, 60.0))))
    assert lines['g2sd'].retained is None


def test_the_figures_beside_it_are_of_the_same_seeds():
    said = headlines(summarise(rows(teacher=(90.0,), g2sd=(81.0, 60.0, 60.0))))
    assert '90.0 %' in said[0] and '81.0 of 90.0' in said[0]
    said = headlines(summarise(rows(teacher=(90.0, 80.0), g2sd=(81.0, 60.0))))
    assert '70.5 of 85.0 %)' in said[0]


def test_tasks_have_their_own_headline_and_teacher():
    lines = summarise([
        row('teacher', 50.0, task='det'), row('g2sd', 25.0, task='det'),
        row('teacher', 40.0, task='seg'), row('g2sd', 38.0, task='seg'),
    ])
    assert [line.retained for line in lines] == pytest.approx([100, 50, 100, 95])
    assert 'bbox_mAP' in text_table(lines) and 'mIoU' in text_table(lines)


def test_failed_rows_are_never_left_out():
    lines = summarise(rows(scratch=(None, None), g2sd=(70.0, None)))
    assert lines[0].errors == ('out of memory',) * 2
    assert lines[0].mean is None
    assert lines[1].values == (70.0,)
    table = text_table(lines)
    assert [line.split()[:4] for line in table.splitlines()[1:]] == [
        ['cls', 'scratch', 'top1', 'failed'], ['cls', 'g2sd', 'top1', '70.00'],
    ]


def test_tables_are_aligned_and_say_the_same():
    lines = summarise(rows(teacher=(80.0, 80.0), g2sd_nosd=(61.25, 63.25)))
    text, markdown = text_table(lines), markdown_table(lines)
    assert 'cls   g2sd_nosd  top1    62.25 ± 1.41  77.8 %      1.25 M  0.50    10 s  30 s' in text
    starts = {line.index('top1') for line in text.splitlines()[1:]}
    assert len(starts) == 1
    rule, _, last = markdown.splitlines()[1:]
    numbers = '62.25 ± 1.41 | 77.8 % | 1.25 M | 0.50 | 10 s | 30 s'
    assert last == f'| cls | g2sd_nosd | top1 | {numbers} |'
    assert rule == '| ' + ' | '.join(['---'] * 9) + ' |'


# Verdicts -----------------------------------------------------------------------------------------


def test_the_order_that_came_out_is_said():
    said = verdicts(summarise(rows(teacher=(80.0,), scratch=(50.0,), single_stage=(60.0,))))
    assert said == ['cls (top1): teacher 80.00 > single_stage 60.00 > scratch 50.00']


def test_equal_rows_are_not_said_to_be_in_order():
    said = verdicts(summarise(rows(teacher=(80.0,), scratch=(80.0,), single_stage=(60.0,))))
    assert said[0] == 'cls (top1): teacher 80.00 = scratch 80.00 > single_stage 60.00'


def test_one_seed_is_said_to_be_one_seed():
    said = verdicts(summarise(rows(g2sd_nosd=(60.0,), g2sd=(61.5,))))
    assert said[1] == (
        'cls: g2sd - g2sd_nosd = +1.50, from one seed: more seeds (--seeds 0 1 2) tell whether it '
        'holds'
    )


@pytest.mark.parametrize(
    ('g2sd', 'verdict'),
    [((61.0, 63.0, 64.0), 'excludes zero'), ((59.0, 61.5, 62.0), 'includes zero'),
     ((58.0, 59.0, 60.5), 'excludes zero')],
)
def test_differences_are_paired_by_seed(g2sd, verdict):
    said = verdicts(summarise(rows(g2sd_nosd=(60.0, 61.0, 62.0), g2sd=g2sd)))
    assert 'over 3 seeds, paired)' in said[1]
    assert verdict in said[1]


def test_g2sd_without_stage_two_is_compared_with_scratch():
    said = verdicts(summarise(rows(scratch=(50.0,), g2sd_nosd=(60.0,))))
    assert said[1].startswith('cls: g2sd_nosd - scratch = +10.00')


def test_g2sd_is_compared_with_scratch():
    said = verdicts(summarise(rows(scratch=(50.0,), g2sd=(60.0,))))
    assert said[1].startswith('cls: g2sd - scratch = +10.00')


def test_rows_on_a_tenth_of_the_labels_are_compared_with_each_other():
    main = rows(g2sd_nosd=(60.0, 61.0), g2sd=(60.0, 61.0))
    few = [
        dict(line, table='labels', setting='10 %')
        for line in rows(g2sd_nosd=(20.0, 21.0), g2sd=(24.0, 26.0))
    ]
    said = verdicts(summarise([*main, *few]))
    assert len(said) == 3
    assert said[2].startswith('cls: g2sd labels 10 % - g2sd_nosd labels 10 % = +4.50 +- 0.50')


def test_a_task_without_a_figure_has_no_order():
    assert verdicts(summarise(rows(scratch=(None,)))) == []


def test_intervals_widen_with_fewer_seeds():
    quantiles = [t_quantile(freedom) for freedom in range(1, 30)]
    assert quantiles == sorted(quantiles, reverse=True)
    assert quantiles[8] == pytest.approx(2.262, abs=1e-3)
    assert min(quantiles) > 2.04  # what 30 degrees of freedom have


def test_rows_of_fewer_seeds_say_so():
    first, second = summarise(rows(g2sd=(70.0, 71.0), scratch=(50.0,)))
    assert 'seeds' not in text_table([first])
    assert '50.00 (1 of 2 seeds)' in text_table([second])
    assert verdicts([first, second])[0].endswith('g2sd 70.50 > scratch 50.00 (1 of 2 seeds)')


def test_seeds_of_failed_rows_are_not_paired_with_others():
    """a has seeds 1 and 2, b has 0 and 1: one pair."""
    lines = by_method(summarise(rows(g2sd=(None, 71.0, 90.0), g2sd_nosd=(10.0, 70.0, None))))
    found = paired(lines['g2sd'], lines['g2sd_nosd'])
    mean, error = found.mean, found.error
    assert (mean, error) == (pytest.approx(1), None)
    said = verdicts(list(lines.values()))
    assert 'g2sd - g2sd_nosd = +1.00, from one seed' in said[1]


def test_without_a_common_seed_nothing_is_compared():
    assert len(verdicts(summarise(rows(g2sd=(None, 70.0), g2sd_nosd=(60.0, None))))) == 1


def test_the_error_is_the_standard_error_of_the_mean():
    lines = by_method(summarise(rows(a=(1.0, 2.0, 6.0), b=(0.0, 0.0, 0.0))))
    found = paired(lines['a'], lines['b'])
    mean, error = found.mean, found.error
    assert mean == pytest.approx(3)
    assert error == pytest.approx((7 / 3) ** 0.5)


# Figures that are not numbers ---------------------------------------------------------------------

NAN, INF = float('nan'), float('inf')


@pytest.mark.parametrize('bad', [NAN, INF, -INF, None])
def test_a_figure_that_is_no_number_is_in_no_mean_and_no_comparison(bad):
    made = rows(teacher=(80.0, 82.0, 84.0), g2sd=(60.0, 60.0, 64.0), scratch=(50.0, 51.0, 52.0))
    clean = by_method(summarise(made))
    made[4]['metrics']['top1'] = bad  # g2sd, seed 1
    lines = by_method(summarise(made))
    assert lines['g2sd'].values == (60.0, 64.0)
    assert (lines['g2sd'].seeds, lines['g2sd'].undefined) == ((0, 2), (1,))
    assert lines['g2sd'].retained == pytest.approx(100 * 124 / 164)
    assert lines['scratch'] == clean['scratch']
    first, order, compared, *_ = verdicts(list(lines.values()))
    assert first == (
        'cls: top1 of g2sd is not a number in seed 1: left out of means and comparisons'
    )
    assert 'nan' not in order + compared
    assert '+11.00' in compared
    assert '62.00 ± 2.83 (2 of 3 seeds, 1 not a number)' in text_table(list(lines.values()))


def test_a_row_without_any_number_says_so_and_not_that_it_failed():
    lines = summarise(rows(teacher=(80.0, 80.0), g2sd=(NAN, NAN), scratch=(None, None)))
    table = {line.split()[1]: line for line in text_table(lines).splitlines()}
    assert 'not a number' in table['g2sd']
    assert 'failed' in table['scratch']
    assert not [sentence for sentence in verdicts(lines) if 'nan' in sentence]
