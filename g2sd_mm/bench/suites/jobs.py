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

from mmengine.config import Config

from ...errors import UserError
from ...progress import Bar, Bars
from ..logs import read_progress
from .budget import raw_config, train_root, work_of
from .data import OwnData
from .suites import Suite

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
    """Keeps a bar of images for every run of a suite that is under way.

    Args:
        suite: whose steps are run.
        folder: with ``seed<N>/<step>/``.
        bars: that are shown; None watches nothing.
        data: what the suite is run on, where it is not its own.
    """

    def __init__(
        self, suite: Suite, folder: Path, bars: Bars | None, data: OwnData | None = None
    ) -> None:
        self.suite, self.folder, self.bars, self.data = suite, folder, bars, data
        self._bars: dict[RunKey, Bar] = {}
        self._started: dict[RunKey, float] = {}

    def __call__(self, running: Collection[RunKey]) -> None:
        """Look at the runs that are under way."""
        if self.bars is None:
            return
        for key in running:
            if key not in self._bars:
                self._started[key] = time.time()
                self._bars[key] = self.bars.add(f'seed {key[0]} {key[1]}', self._images(key))
            bar = self._bars[key]
            state = read_progress(self.folder / f'seed{key[0]}' / key[1])
            if state is None or state['time'] < self._started[key]:  # of an earlier run
                continue
            images = state['step'] * self._config(key).auto_scale_lr.base_batch_size
            if not bar.done:  # a run that was resumed has done some of it before
                bar.go_on(images)
            elif images != bar.done:
                bar.at(images)

    def _config(self, key: RunKey) -> Config:
        step = self.suite.step(key[1])
        return raw_config(step.config, step.options)

    def _images(self, key: RunKey) -> int | None:
        """Images that the run will have seen; None where that is not known."""
        cfg = self._config(key)
        try:
            return work_of(cfg, self.data.size(train_root(cfg)) if self.data else None).seen
        except UserError:
            return None

    def ended(self, key: RunKey) -> None:
        """A run is over."""
        if bar := self._bars.pop(key, None):
            bar.end()
