"""Memory that a training step takes over what lies there before: networks, moments and batch.

Allocators keep what was freed, so every figure comes from a process of its own, started by
:func:`measure_memory`: the model is built and the optimizer's moments with it, what building left
behind is given back, and one step is run. On a CPU the figure is the process's highest resident set
in the step less the one before it; on a GPU, the highest allocation less the one before.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from .process_memory import forget_peak, give_back, status
from .processes import environment, require_success
from .stages import STAGES

if TYPE_CHECKING:
    import torch


def measure_memory(
    stage: str,
    reference: bool,
    batch: int,
    size: str = 'full',
    device: str = 'cpu',
    dtype: str = 'float32',
    extra: str | None = None,
    threads: int | None = None,
) -> int:
    """Peak bytes of a step over the bytes before it, of one formulation, in a fresh process.

    Args:
        stage: name of the stage.
        reference: the reference formulation (always float32) or this project's.
        batch: images.
        size, device: see :class:`~benchmarks.speed.formulation.Formulation`.
        dtype, extra: of this project's formulation, see
            :class:`~benchmarks.speed.formulation.Variant`.
        threads: torch's; None for its own choice.

    Raises:
        RuntimeError: if the process fails, with the end of what it said.
    """
    job = dict(
        stage=stage, reference=reference, batch=batch, size=size, device=device, dtype=dtype,
        extra=extra, threads=threads,
    )
    done = subprocess.run(
        [sys.executable, '-m', 'benchmarks.speed.memory', json.dumps(job)],
        capture_output=True, text=True, env=environment(),
    )
    require_success(
        done.returncode, done.stderr, f'the process that measures memory of {stage}'
    )
    return json.loads(done.stdout.splitlines()[-1])['bytes']


def step_memory(job: dict[str, Any]) -> int:
    """The measurement itself, in this process, which should have done nothing else."""
    stage, device = STAGES[job['stage']], job['device']
    import torch

    from ..reference import ReferenceFormulation
    from .batches import random_batch
    from .formulation import Formulation, Variant

    if job['threads']:
        torch.set_num_threads(job['threads'])
    if job['reference']:
        formulation: Formulation = ReferenceFormulation(stage, job['size'], device)
    else:
        variant = Variant(job['dtype'], extra=job['extra'])
        formulation = Formulation(stage, job['size'], device, variant)
    make_moments(formulation.optimizer.optimizer)
    batch = random_batch(stage, job['batch'], job['size'])
    before = _reset_peak(device)
    formulation.run('step', batch)
    return _peak(device) - before


def make_moments(optimizer: torch.optim.Optimizer) -> None:
    """Let an optimizer allocate its state, as after the first update; no gradients are left."""
    for group in optimizer.param_groups:
        for parameter in group['params']:
            parameter.grad = parameter.new_zeros(parameter.shape)
    optimizer.step()
    optimizer.zero_grad()


def _reset_peak(device: str) -> int:
    """Forget earlier peaks; bytes in use now."""
    give_back()  # what building the model has freed
    if device.startswith('cuda'):
        import torch

        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    try:
        forget_peak()
    except OSError:
        return _peak(device)  # no fresh start here: only growth beyond building can be seen
    return status('VmRSS')


def _peak(device: str) -> int:
    if device.startswith('cuda'):
        import torch

        return torch.cuda.max_memory_allocated()
    try:
        return status('VmHWM')
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == '__main__':
    print(json.dumps({'bytes': step_memory(json.loads(sys.argv[1]))}))
