"""Data loader workers that let the process that they work for decide when to end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import TracebackType
from typing import Any

from mmengine.dataset.utils import worker_init_fn
from mmengine.dist import get_rank
from mmengine.registry import FUNCTIONS
from torch.utils.data import get_worker_info

#: Seconds between two looks for the process that a worker works for.
LOOK = 5.0
_DYING = 1.0  # seconds from the end of a process's connections to the end of the process, at most


@FUNCTIONS.register_module()
def patient_worker(
    worker_id: int, seed: int | None = None, disable_subprocess_warning: bool = False
) -> None:
    """Start a worker that does not die of the signals by which clusters announce the end.

    They go to all processes of a job. A worker that fell at once would take the training process
    with it before that could finish its step and save. The training process itself can still end
    its workers, and they end when it is gone.

    Args:
        worker_id: number of the worker.
        seed: of the run; the worker's generators start where mmengine would have them start.
        disable_subprocess_warning: as mmengine has it.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # blocked here, and so in every thread that is begun from here: the one below takes it
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_obey, args=(os.getppid(),), daemon=True).start()
    sys.excepthook = _Orphan(os.getppid())
    if seed is not None:
        worker: Any = get_worker_info()
        worker_init_fn(worker_id, worker.num_workers, get_rank(), seed, disable_subprocess_warning)


class _Orphan:
    """Says nothing where a connection broke because the process at its other end is gone.

    A batch is fetched from a thread of the worker, which would print a traceback where a training
    process is killed in the midst of it, below the line that names the cause.
    """

    def __init__(self, parent: int) -> None:
        self.parent = parent

    def __call__(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        """Stands for ``sys.excepthook``."""
        if issubclass(kind, (EOFError, ConnectionError)) and self._is_gone():
            os._exit(0)
        sys.__excepthook__(kind, error, trace)

    def _is_gone(self) -> bool:
        """A process closes its connections some time before others hear of its end."""
        end = time.monotonic() + _DYING
        while os.getppid() == self.parent and time.monotonic() < end:
            time.sleep(0.01)
        return os.getppid() != self.parent


def _obey(parent: int) -> None:
    """End at the parent's SIGTERM, at nobody else's, and when it is gone.

    torch looks for the parent too, between batches: a worker that waits to hand over a batch larger
    than a pipe holds would wait for ever.
    """
    while os.getppid() == parent:
        received = signal.sigtimedwait({signal.SIGTERM}, LOOK)
        if received is not None and received.si_pid == parent:
            break
    os._exit(0)
