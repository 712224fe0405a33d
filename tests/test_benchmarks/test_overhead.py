"""Where the time of a small step goes."""

from __future__ import annotations

from benchmarks.overhead import measure


def test_every_part_is_timed_and_compared_with_the_products():
    figures = measure(batch=2, rounds=1)
    parts = figures['ms_an_image']
    assert list(parts) == [
        'preprocessing', 'forward', 'backward', 'optimizer', 'whole step', 'reading',
        'products at their peak',
    ]  # fmt: skip
    assert all(milliseconds > 0 for milliseconds in parts.values())
    # three products a weight, forward and backward, for each of 50 tokens
    least = 6 * 49 * 0.9 * figures['parameters']
    assert least < figures['flops_an_image'] < 2 * least
