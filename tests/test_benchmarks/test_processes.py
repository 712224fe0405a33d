"""Figures that need processes of their own: start-up, and two processes over one."""

from __future__ import annotations

import pytest

from benchmarks.speed import scaling, startup
from benchmarks.speed.figures import Scaling, Startup
from benchmarks.speed.pairing import Ratio
from benchmarks.speed.report import HEADER, cells, line, plain
from benchmarks.speed.stages import STAGES

from ..helpers.toys import words


def test_startup_is_what_is_added_to_the_bare_import_round_by_round():
    figure = Startup('cls_vits', (14.0, 30.0, 15.0), (10.0, 27.0, 10.0))
    assert figure.added == 4.0
    assert line(cells(figure)).split() == [
        'cls_vits', 'startup', 'own,', 'bare', 'import', '15.0', 's', '10.0', 's', '+4.0', 's']


def test_startup_takes_turns_and_leaves_the_first_round_out(tmp_path, monkeypatch):
    seconds = iter([99.0, 88.0, 4.0, 3.0, 6.0, 2.0])
    started = []

    def fake(arguments):
        started.append(arguments)
        return next(seconds)

    monkeypatch.setattr(startup, '_seconds', fake)
    figure = startup.measure_startup(STAGES['det_vits'], tmp_path, 1, rounds=2, size='toy')
    assert (figure.seconds, figure.bare_seconds) == ((4.0, 6.0), (3.0, 2.0))
    assert [arguments[0] for arguments in started] == ['-m', '-c'] * 3
    assert 'from mmdet.utils' in started[1][1]
    assert any(tmp_path.iterdir())  # pictures to read


def test_a_start_that_fails_is_told(monkeypatch):
    with pytest.raises(RuntimeError, match=words('start-up failed', 'no such thing')):
        startup._seconds(['-c', 'raise SystemExit("no such thing")'])


@pytest.mark.slow
@pytest.mark.parametrize('name', ['generic_vits', 'det_vits', 'seg_vits'])
def test_a_run_gets_to_its_first_batch_soon(tmp_path, name):
    """At full size less than as long again as the imports, whatever else the machine does."""
    figure = startup.measure_startup(STAGES[name], tmp_path, STAGES[name].batch, rounds=2)
    assert min(o / b for o, b in zip(figure.seconds, figure.bare_seconds, strict=True)) < 2.0


def test_scaling_is_written_down_as_a_ratio():
    figure = Scaling('cls_vits', 16, 1.5, 2.7, Ratio(1.8, 1.6, 1.9, 5))
    assert len(cells(figure)) == len(HEADER)
    assert line(cells(figure)).split() == [
        'cls_vits', 'scaling', 'two,', 'one', 'process', '16', '2.70/s', '1.50/s',
        '1.80', '(1.60', 'to', '1.90)']


def test_the_json_has_startup_and_scaling():
    measured = dict(
        speed=[], memory=[], reading=[], startup=[Startup('cls_vits', (3.0,), (1.0,))],
        scaling=[Scaling('cls_vits', 16, 1.5, 2.7, Ratio(1.8, 1.6, 1.9, 5))],
    )
    content = plain(measured)
    assert content['startup'] == [
        {'stage': 'cls_vits', 'seconds': (3.0,), 'bare_seconds': (1.0,), 'added': 2.0}]
    assert content['scaling'][0]['ratio']['median'] == 1.8


@pytest.mark.slow
def test_two_processes_train_next_to_one():
    figure = scaling.measure_scaling(STAGES['generic_vits'], 2, rounds=2, size='toy')
    assert figure.ratio.rounds == 2
    assert 0 < figure.ratio.lowest <= figure.ratio.median < 3
    assert figure.images_per_second > 0
