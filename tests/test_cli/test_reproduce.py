"""How ``tools/reproduce.py`` ends."""

from __future__ import annotations

import pytest

from g2sd_mm.cli import reproduce
from g2sd_mm.errors import RunError


@pytest.mark.parametrize('failed', [False, True])
def test_rows_that_failed_end_it_with_the_first_cause(monkeypatch, tmp_path, failed):
    rows = [dict(method='scratch', seed=0, metrics={}), dict(method='g2sd', seed=1)]
    if failed:
        rows[1]['error'] = 'the disk is full'
    monkeypatch.setattr('g2sd_mm.reproduce.run.run_suite', lambda *_, **__: {'rows': rows})
    monkeypatch.setattr('g2sd_mm.reproduce.pictures.draw_pictures', lambda *_: None)
    reported = []
    monkeypatch.setattr(reproduce, '_report', reported.append)
    args = reproduce.parser().parse_args(['--out', str(tmp_path / 'out')])
    if failed:
        with pytest.raises(RunError, match='1 of 2 rows failed; the first, g2sd: the disk is full'):
            reproduce._run(args)
    else:
        reproduce._run(args)
    assert reported == [tmp_path / 'out']  # what did finish is reported in either case


@pytest.mark.parametrize(
    ('asked', 'done', 'shown'),
    [
        ([0, 1, 2], [0, 1, 2], 0),
        ([2, 1], [2, 1], 1),  # the first of those that are here, in whatever order asked for
        ([2], [], 2),
        ([1], [0, 1], 1),  # seed 0 was read from the record: its weights are elsewhere
    ],
)
@pytest.mark.parametrize('suite', ['demo', 'paper'])  # forked, launched
def test_pictures_are_of_the_first_seed_that_ran_here(
    monkeypatch, tmp_path, suite, asked, done, shown
):
    rows = [dict(method='scratch', seed=seed, metrics={}) for seed in done]
    monkeypatch.setattr('g2sd_mm.reproduce.run.run_suite', lambda *_, **__: {'rows': rows})
    drawn = []
    monkeypatch.setattr(
        'g2sd_mm.reproduce.pictures.draw_pictures',
        lambda suite, rows, weights, out: drawn.append((weights, out)),
    )
    monkeypatch.setattr(reproduce, '_report', lambda folder: None)
    monkeypatch.setattr(reproduce, '_refuse_without_data', lambda suite, rows: None)
    for seed in asked:
        (tmp_path / f'seed{seed}').mkdir()
    seeds = [str(seed) for seed in asked]
    words = ['--suite', suite, '--out', str(tmp_path), '--seeds', *seeds]
    reproduce._run(reproduce.parser().parse_args(words))
    assert drawn == [(tmp_path / f'seed{shown}', tmp_path / 'pictures')]
