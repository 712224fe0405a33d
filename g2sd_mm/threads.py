"""How many threads and reading processes pay here: by the size of the network and by the load.

A step of a small network is thousands of computations of microseconds each. OpenMP's threads wait
for each other after every one of them, spinning: with other work on the cores that takes eight
times as long as one thread, and saves little where the cores are idle.
"""

from __future__ import annotations

import os

import torch

#: Parameters up to which one thread is as fast as several.
SMALL = 3_000_000
_SAID = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS')


def cores() -> int:
    """That this process may use."""
    affinity = getattr(os, 'sched_getaffinity', None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def load() -> float:
    """Processes that wanted a core over the last minute; 0 where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, 'getloadavg') else 0.0


def free_cores() -> int:
    """Cores that nothing else works on, at least 1."""
    return max(1, cores() - round(load()))


def said_by() -> str:
    """The variable by which somebody said how many threads there are to be; '' for none."""
    return next((name for name in _SAID if os.environ.get(name)), '')


def use_threads(parameters: int) -> str:
    """Let torch compute on as many threads as pay; returns that in words.

    What the environment says (``OMP_NUM_THREADS``) counts.

    Args:
        parameters: of the largest network that is run on the CPU.
    """
    said = said_by()
    if not said:
        torch.set_num_threads(1 if parameters <= SMALL else free_cores())
    number = torch.get_num_threads()
    why = said or f'{parameters / 1e6:.1f} M parameters, {cores()} cores, load {load():.1f}'
    return f'{number} thread{"s" * (number > 1)} ({why})'


def enough_workers(asked: int) -> int:
    """Reading processes: no more than cores are free for them."""
    return min(asked, free_cores())
