"""Run a graph of jobs in threads, as many at once as the machine has room for.

A job starts commands of its own (see :mod:`.launch`), so threads are enough: processes are what
computes, and nothing of a run (default scopes, loggers, memory) is left for the next one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import CycleError, TopologicalSorter
from typing import Any, TypeVar

Key = TypeVar('Key', bound=Hashable)
Result = dict[str, Any]
Work = Callable[[Key, Mapping[Key, Result]], Result]

_WATCH = 1.0  # seconds between two looks at what is running


def default_jobs() -> int:
    """Runs at once: one per core up to four; one where a GPU would have to be shared."""
    import torch

    return 1 if torch.cuda.device_count() else min(4, os.cpu_count() or 1)


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
        ValueError: if keys need each other.
    """
    order = TopologicalSorter(needs)
    try:
        order.prepare()
    except CycleError as error:
        raise ValueError(f'{error.args[1]} need each other') from error
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
