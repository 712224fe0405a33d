"""Bars on a terminal, lines elsewhere, right figures in both."""

from __future__ import annotations

import io

import pytest

from g2sd_mm.progress import Bars, duration


class Clock:
    """Seconds that only tests let pass."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_lines_come_now_and_then_with_rate_and_time_left():
    stream, clock = io.StringIO(), Clock()
    with Bars(stream, every=10, clock=clock) as bars:
        bar = bars.add('occlusion', 5000)
        for _ in range(25):
            clock.now += 1
            bar.advance(100)
        bar.end()
    assert stream.getvalue().splitlines() == [
        'occlusion: 1,000/5,000 images, 100 images/s, 40 s left',
        'occlusion: 2,000/5,000 images, 100 images/s, 30 s left',
    ]


def test_quick_work_says_nothing():
    stream, clock = io.StringIO(), Clock()
    with Bars(stream, every=10, clock=clock) as bars:
        bar = bars.add('cka', 500)
        clock.now += 9
        bar.advance(500)
        bar.end()
    assert stream.getvalue() == ''


def test_what_was_done_before_is_not_counted_into_the_rate():
    stream, clock = io.StringIO(), Clock()
    bars = Bars(stream, every=1, clock=clock)
    bar = bars.add('seed 0 vitb_cls', 1000)
    clock.now += 100
    bar.go_on(600)
    clock.now += 10
    bar.at(700)
    assert stream.getvalue() == 'seed 0 vitb_cls: 700/1,000 images, 10 images/s, 30 s left\n'


def test_an_unknown_end_has_no_time_left():
    stream, clock = io.StringIO(), Clock()
    bar = Bars(stream, every=1, clock=clock).add('own data', None)
    clock.now += 100
    bar.at(50)
    assert stream.getvalue() == 'own data: 50 images, 0.5 images/s\n'


def test_lines_of_several_bars_do_not_keep_each_other_back():
    stream, clock = io.StringIO(), Clock()
    bars = Bars(stream, every=10, clock=clock)
    one, other = bars.add('one', 100), bars.add('other', 100)
    clock.now += 10
    one.at(10)
    other.at(20)
    assert [line.split(':')[0] for line in stream.getvalue().splitlines()] == ['one', 'other']


def test_a_terminal_gets_bars_and_lines_above_them(monkeypatch):
    monkeypatch.setenv('TERM', 'xterm')
    stream = Terminal()
    with Bars(stream) as bars:
        bar = bars.add('occlusion', 200)
        bar.advance(50)
        bars.say('[1/2] a line [not] markup')
    text = stream.getvalue()
    assert 'occlusion' in text and '25 %' in text
    assert '[1/2] a line [not] markup' in text


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch):
    monkeypatch.setenv('TERM', 'dumb')
    stream, clock = Terminal(), Clock()
    with Bars(stream, every=10, clock=clock) as bars:
        bar = bars.add('occlusion', 200)
        clock.now += 10
        bar.advance(50)
    assert stream.getvalue() == 'occlusion: 50/200 images, 5 images/s, 30 s left\n'


def test_bars_start_no_thread(monkeypatch):
    """A thread that holds a lock while a process is forked would stop the child for good."""
    import threading

    monkeypatch.setenv('TERM', 'xterm')
    before = threading.active_count()
    with Bars(Terminal()) as bars:
        bars.add('work', 10).advance(1)
        assert threading.active_count() == before


@pytest.mark.parametrize(
    ('seconds', 'words'),
    [(0.4, '0 s'), (59.6, '1 min 0 s'), (185, '3 min 5 s'), (7800, '2 h 10 min')],
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words
