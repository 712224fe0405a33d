"""Run a graph of jobs in forked processes, as many at once as the machine has room for.

Forked, because importing the stack takes longer than some of the demo's runs; processes, because
two small networks on one thread each are nearly twice as fast as one network on two threads, and
because nothing of a run (default scopes, loggers, memory) is left for the next one.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

Key = TypeVar('Key', bound=Hashable)
Result = dict[str, Any]
Work = Callable[[Key, Mapping[Key, Result]], Result]

_WATCH = 1.0  # seconds between two looks at what is running
_PR_SET_PDEATHSIG = 1  # of prctl(2)


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
        work: called in a process of its own with the key and the results so far.
        jobs: processes at once; each computes on its share of the cores.
        watch: told the keys that are running, every second or so.

    A process that dies without a result gives ``{'error': ...}``. All of them end with this one,
    also if it is killed: nobody is left to write into folders that the next start goes on in.
    """
    context = multiprocessing.get_context('fork')
    threads = max(1, (os.cpu_count() or 1) // jobs)
    results: dict[Key, Result] = {}
    waiting = list(needs)
    running: dict[Connection, tuple[Key, Any]] = {}
    needed = {need for others in needs.values() for need in others}
    try:
        while waiting or running:
            ready = [key for key in waiting if all(need in results for need in needs[key])]
            for key in ready[: jobs - len(running)]:
                waiting.remove(key)
                receiver, sender = context.Pipe(duplex=False)
                others_wait = key in needed
                process = context.Process(
                    target=_child, args=(sender, work, key, results, threads, others_wait)
                )
                process.start()
                sender.close()  # so that the receiver sees the end when the child's copy closes
                running[receiver] = (key, process)
            if not running:
                raise ValueError(f'{waiting} need each other, or something that is not there')
            ended = wait(list(running), timeout=_WATCH)
            watch([key for key, _ in running.values()])
            for receiver in [one for one in running if one in ended]:
                key, process = running.pop(receiver)
                results[key] = _receive(receiver, process)
                yield key, results[key]
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()


def _child(
    sender: Connection,
    work: Work,
    key: Key,
    results: Mapping[Key, Result],
    threads: int,
    others_wait: bool,
) -> None:
    import torch

    end_with_parent(signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent and os.getppid() != parent.pid:
        return  # it was gone before
    if not others_wait:
        os.nice(5)  # a run that nothing waits for makes way for one that something does
    torch.set_num_threads(threads)
    sender.send(work(key, results))


def end_with_parent(number: int) -> None:
    """Let the kernel send this process a signal when its parent is gone, however that ended."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def _receive(receiver: Connection, process: Any) -> Result:
    try:
        result = receiver.recv()
    except EOFError:
        process.join()
        return {'error': f'its process ended with exit code {process.exitcode}'}
    process.join()
    return result
