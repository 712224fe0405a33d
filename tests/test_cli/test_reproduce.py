"""How ``tools/reproduce.py`` ends."""

from __future__ import annotations

import pytest

from g2sd_mm.cli import reproduce
from g2sd_mm.errors import RunError


@pytest.mark.parametrize('failed', [False, True])
def test_rows_that_failed_end_it_with_the_first_cause(monkeypatch, tmp_path, failed):
    rows = [dict(method='scratch', metrics={}), dict(method='g2sd')]
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
