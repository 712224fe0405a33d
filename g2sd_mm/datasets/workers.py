"""Data loader workers that let the process that they work for decide when to end."""

from __future__ import annotations

import signal
from types import FrameType

from mmengine.dataset.utils import worker_init_fn
from mmengine.dist import get_rank
from mmengine.registry import FUNCTIONS
from torch.utils.data import get_worker_info

#: Seconds that a worker outlives the request to end, while the last step needs its batches.
GRACE = 120


@FUNCTIONS.register_module()
def patient_worker(worker_id: int, seed: int | None = None) -> None:
    """Start a worker that does not die of the signals by which clusters announce the end.

    They go to all processes of a job. A worker that fell at once would take the training process
    with it before that could finish its step and save.

    Args:
        worker_id: number of the worker.
        seed: of the run; the worker's generators start where mmengine would have them start.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_later)
    if seed is not None:
        worker_init_fn(worker_id, get_worker_info().num_workers, get_rank(), seed)


def _end_later(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(GRACE)
