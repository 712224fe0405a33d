"""Two processes over one, on CPUs: how much of a second core's work training gets.

Two processes over gloo hold a copy of the model each and are bound to a core each. In every round
the first one trains alone while the second one waits, and then both train together. The batch of a
process is the same in either case.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from .figures import Scaling
from .pairing import Ratio, Timing
from .processes import in_ranks
from .stages import STAGES, Stage

_PROCESSES = 2


def measure_scaling(
    stage: Stage, batch: int, rounds: int, size: str = 'full', steps: int = 1
) -> Scaling:
    """Images a second of one process and of two.

    Args:
        stage, size: see :class:`~benchmarks.speed.formulation.Formulation`; float32.
        batch: images a step and process.
        rounds: counted rounds.
        steps: training steps of a timing.

    Raises:
        RuntimeError: if a process fails, with the end of what it said.
    """
    job = json.dumps(
        dict(stage=stage.name, batch=batch, rounds=rounds, size=size, steps=steps)
    )
    said = in_ranks(
        'benchmarks.speed.scaling', [job], _PROCESSES,
        f'a process that measures scaling of {stage.name}',
    )  # fmt: skip
    alone, together = (Timing(tuple(s)) for s in json.loads(said[0]))
    images = batch * steps
    return Scaling(
        stage.name, batch, alone.rate(images), together.rate(_PROCESSES * images),
        # twice the images in the time of both
        Ratio.of(Timing(tuple(s / _PROCESSES for s in together.seconds)), alone),
    )


def train_in_turns(job: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Seconds alone and together, round by round; run by every process of the group."""
    import torch
    import torch.distributed as dist
    from mmengine.model import MMDistributedDataParallel

    from .batches import random_batch
    from .formulation import Formulation

    rank = int(os.environ['RANK'])
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[rank % len(cores)]})
    torch.set_num_threads(1)
    dist.init_process_group('gloo')
    stage = STAGES[job['stage']]
    formulation = Formulation(stage, job['size'])
    model = MMDistributedDataParallel(formulation.model, broadcast_buffers=False)
    batch = random_batch(stage, job['batch'], job['size'], seed=rank)

    def train() -> None:
        for _ in range(job['steps']):
            model.train_step(formulation.prepare('step', batch), formulation.optimizer)

    for _ in range(2):
        train()  # DDP lays its buckets out anew in the second: all processes have to be there
    alone: list[float] = []
    together: list[float] = []
    for _ in range(job['rounds']):
        with _timed(alone):
            if rank == 0:
                with model.no_sync():
                    train()
        with _timed(together):
            train()
    dist.destroy_process_group()
    return alone, together


@contextlib.contextmanager
def _timed(seconds: list[float]) -> Iterator[None]:
    """Adds the seconds until all processes are through the block."""
    import torch.distributed as dist

    dist.barrier()
    begun = time.perf_counter()
    yield
    dist.barrier()
    seconds.append(time.perf_counter() - begun)


if __name__ == '__main__':
    print(json.dumps(train_in_turns(json.loads(sys.argv[1]))))
