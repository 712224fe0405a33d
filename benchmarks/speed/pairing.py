"""Alternating measurement: every candidate is timed next to the reference, in either order.

A machine's speed drifts, by clocks, heat and neighbours. Within a round of a few steps it drifts
little, so the ratio within a round is better known than either time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Task = Callable[[], Callable[[], None]]


@dataclass(frozen=True)
class Timing:
    """Seconds of one task, one entry a round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median seconds."""
        return statistics.median(self.seconds)

    def rate(self, images: int) -> float:
        """Images a second at the median."""
        return images / self.median


@dataclass(frozen=True)
class Ratio:
    """How many times faster than the reference: the median of the rounds, and their range."""

    median: float
    lowest: float
    highest: float
    rounds: int

    @classmethod
    def of(cls, candidate: Timing, reference: Timing) -> Ratio:
        """Reference time over the candidate's, round by round."""
        each = [r / c for c, r in zip(candidate.seconds, reference.seconds, strict=True)]
        return cls(statistics.median(each), min(each), max(each), len(each))

    def __str__(self) -> str:
        return f'{self.median:.2f} ({self.lowest:.2f} to {self.highest:.2f})'


def alternate(
    tasks: Mapping[str, Task], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Timing]:
    """Time every task once a round, in the given order and backwards in turn.

    Args:
        tasks: name -> function that prepares (not timed) and returns what is timed.
        rounds: how often; one more round comes first and is not counted.
        clock: seconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(rounds + 1):
        names = list(tasks)[:: 1 if number % 2 else -1]
        for name in names:
            ready = tasks[name]()
            started = clock()
            ready()
            if number:
                seconds[name].append(clock() - started)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}
