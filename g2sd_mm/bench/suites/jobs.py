"""Run a graph of jobs in threads, as many at once as the machine has room for, and watch them.

A job starts commands of its own (see :mod:`.launch`), so threads are enough: processes are what
computes, and nothing of a run (default scopes, loggers, memory) is left for the next one. How far a
run is it leaves in its folder: one that a launcher started on other machines is watched alike.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, TypeVar

from ...errors import UserError
from ...progress import Bar, Bars
from ..logs import read_progress

Key = TypeVar('Key', bound=Hashable)
Result = dict[str, Any]
Work = Callable[[Key, Mapping[Key, Result]], Result]

RunKey = tuple[int, str]  # seed, step

_WATCH = 1.0  # seconds between two looks at what is running


def default_jobs() -> int:
    """Runs at once: one per core up to four; one where a GPU would have to be shared."""
    import torch

    return 1 if torch.cuda.device_count() else min(4, os.cpu_count() or 1)


def refuse_too_small(option: str, number: int | None, least: int) -> None:
    """Raise a UserError for a number that an option cannot have; None is not given."""
    if number is not None and number < least:
        raise UserError(f'{option} {number} is too small: give a number from {least}')


def longest_chains_first(needs: Mapping[Key, Sequence[Key]]) -> dict[Key, Sequence[Key]]:
    """``needs`` in the order of how many others must still run, one after the other, behind a key.

    Else the longest chain would be what remains at the end, with all other cores idle.
    """
    behind = dict.fromkeys(needs, 0)
    for _ in needs:  # one round for each link that a chain may have
        for key, others in needs.items():
            for need in others:
                behind[need] = max(behind.get(need, 0), behind[key] + 1)
    return {key: needs[key] for key in sorted(needs, key=lambda key: -behind[key])}


def run_graph(
    needs: Mapping[Key, Sequence[Key]],
    work: Work,
    jobs: int,
    watch: Callable[[Collection[Key]], None] = lambda running: None,
) -> Iterator[tuple[Key, Result]]:
    """Run every key after those that it needs; yields ``(key, result)`` as each ends.

    Args:
        needs: key -> the keys whose results it needs; earlier keys are started first.
        work: called in a thread with the key and the results so far.
        jobs: threads at once.
        watch: told the keys that are running, every second or so.

    Raises:
        graphlib.CycleError: if keys need each other.
    """
    order = TopologicalSorter(needs)
    order.prepare()
    places = {key: place for place, key in enumerate(needs)}
    results: dict[Key, Result] = {}
    ready: list[Key] = []
    running: dict[Future[Result], Key] = {}
    pool = ThreadPoolExecutor(jobs)
    try:
        while order.is_active():
            ready = sorted([*ready, *order.get_ready()], key=places.__getitem__)
            while ready and len(running) < jobs:
                key = ready.pop(0)
                running[pool.submit(work, key, dict(results))] = key
            ended, _ = wait(running, timeout=_WATCH, return_when=FIRST_COMPLETED)
            watch(list(running.values()))
            for future in ended:
                key = running.pop(future)
                results[key] = future.result()
                order.done(key)
                yield key, results[key]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class RunProgress:
    """Keeps a bar of images for every run of a suite that is under way, as the run itself tells.

    Args:
        folder: with ``seed<N>/<step>/``.
        bars: that are shown; None watches nothing.
    """

    def __init__(self, folder: Path, bars: Bars | None) -> None:
        self.folder, self.bars = folder, bars
        self._bars: dict[RunKey, Bar] = {}
        self._started: dict[RunKey, float] = {}

    def __call__(self, running: Collection[RunKey]) -> None:
        """Look at the runs that are under way."""
        if self.bars is None:
            return
        for key in running:
            started = self._started.setdefault(key, time.time())
            state = read_progress(self.folder / f'seed{key[0]}' / key[1])
            if state is None or state['time'] < started:  # of an earlier run
                continue
            images, total = (state[n] * state.get('images', 0) for n in ('step', 'steps'))
            if key not in self._bars:  # a run that was resumed has done some of it before
                self._bars[key] = self.bars.add(f'seed {key[0]} {key[1]}', total)
                self._bars[key].go_on(images)
            elif images != self._bars[key].done:
                self._bars[key].at(images)

    def ended(self, key: RunKey) -> None:
        """A run is over."""
        if bar := self._bars.pop(key, None):
            bar.end()
