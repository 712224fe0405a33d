"""Alternating measurement, on a clock that the test turns."""

from __future__ import annotations

import pytest

from benchmarks.speed.pairing import Ratio, Timing, alternate


def test_tasks_take_turns_and_the_first_round_does_not_count():
    now, ran = [0.0], []

    def task(name, seconds):
        def prepare():
            now[0] += 100  # preparing takes long and is not timed

            def run():
                ran.append(name)
                now[0] += seconds * len(ran)  # the machine gets slower and slower

            return run

        return prepare

    timings = alternate({'a': task('a', 1), 'b': task('b', 2)}, 3, clock=lambda: now[0])
    assert ''.join(ran) == 'ba' + 'ab' + 'ba' + 'ab'
    assert timings['a'].seconds == (3, 6, 7)
    assert timings['b'].seconds == (8, 10, 16)
    assert timings['a'].median == 6
    assert timings['a'].rate(12) == 2


def test_the_ratio_is_taken_within_rounds():
    ours, reference = Timing((1.0, 10.0, 2.0)), Timing((2.0, 30.0, 3.0))
    assert Ratio.of(ours, reference) == Ratio(median=2.0, lowest=1.5, highest=3.0, rounds=3)
    with pytest.raises(ValueError):
        Ratio.of(ours, Timing((1.0,)))
