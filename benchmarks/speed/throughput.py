"""Training throughput of every distinct workload of a suite: what its GPU hours are told from.

A whole step is timed as in ``step`` of the other benchmark, but alone, without a reference: in the
precision that the suite trains in, at the recipe's batch for each GPU, with compiled blocks where
training compiles them.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from g2sd_mm.bench.suites.budget import raw_config, workload
from g2sd_mm.bench.suites.suites import Row, Step, Suite
from g2sd_mm.engine.hooks.compile import why_not
from g2sd_mm.engine.optimizers import mixed_dtype
from g2sd_mm.tasks import task_of
from g2sd_mm.text import one_line

from . import surroundings
from .batches import random_batch
from .formulation import Formulation, Variant
from .pairing import Timing, alternate
from .stages import SIDES, Stage

_WARM_UP = 2  # steps in which kernels are chosen and blocks compiled

Say = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Workload:
    """Steps of a suite that compute the same in the same precision.

    key: :func:`~g2sd_mm.bench.suites.budget.workload` of their configs.
    dtype: of the student's forward pass, and of the teacher.
    stage: the first of the steps.
    steps: their names.
    """

    key: str
    dtype: str
    stage: Stage
    steps: tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """How to measure.

    size: ``full`` or ``toy``.
    device: ``cpu`` or ``cuda``.
    batch: images a step; None for each recipe's own, of one GPU.
    rounds: steps that are timed.
    threads: torch's on the CPU; None for its own choice.
    """

    size: str = 'full'
    device: str = 'cpu'
    batch: int | None = None
    rounds: int = 5
    threads: int | None = None


def workloads_of(
    suite: Suite, rows: Sequence[Row], device: str = 'cpu', dtypes: Sequence[str] | None = None
) -> list[Workload]:
    """Every distinct workload of the steps that the rows need, in the order of the suite.

    Args:
        suite, rows: whose steps.
        device: on which mixed precision is looked up.
        dtypes: precisions to measure all of them in; None for the one that each step has in the
            suite.
    """
    found: dict[tuple[str, str], list[Step]] = {}
    for step in suite.steps_of(rows):
        key = workload(raw_config(step.config, step.options))
        own = mixed_dtype(device) if step.amp else 'float32'
        for dtype in dtypes or (own,):
            found.setdefault((key, dtype), []).append(step)
    return [
        Workload(key, dtype, stage_of(steps[0]), tuple(step.name for step in steps))
        for (key, dtype), steps in found.items()
    ]


def stage_of(step: Step) -> Stage:
    """A suite's step as a stage of the benchmark, with the recipe's batch of one GPU."""
    cfg = raw_config(step.config, step.options)
    found = task_of(cfg.default_scope, cfg.model)
    task = found.key if found and cfg.model.get('backbone') else 'generic'
    batch = cfg.train_dataloader.batch_size
    return Stage(step.name, task, step.config, SIDES[task], batch, batch, step.options)


def measure(
    workloads: Sequence[Workload], settings: Settings, say: Say = lambda _: None
) -> dict[str, Any]:
    """Measure one workload after the other; ``say`` hears after each what there is so far.

    Returns:
        ``environment``, ``size``, ``figures`` and ``failed``: what could not be measured, and why.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    loads = [surroundings.load_average()]
    compiled = _compiles(settings.device)
    measured: dict[str, Any] = {'size': settings.size, 'figures': [], 'failed': []}
    for one in workloads:
        figure = measure_one(one, settings, compiled)
        _free(settings.device)
        measured['failed' if 'error' in figure else 'figures'].append(figure)
        loads.append(surroundings.load_average())
        say(_located(measured, settings.device, loads))
    return _located(measured, settings.device, loads)


def _located(
    measured: dict[str, Any], device: str, loads: list[float | None]
) -> dict[str, Any]:
    return {'environment': surroundings.describe(device, loads), **measured}


def _compiles(device: str) -> bool:
    """Whether ``tools/train.py`` compiles here if it is not told otherwise."""
    return device.startswith('cuda') and why_not(device) is None


def measure_one(one: Workload, settings: Settings, compiled: bool = False) -> dict[str, Any]:
    """The figure of one workload, or its ``error`` in a line: one does not stop the others."""
    variant = Variant(one.dtype, compiled)
    batch = settings.batch or one.stage.gpu_batch
    known = {
        'workload': one.key,
        'config': one.stage.config,
        'options': one.stage.options,
        'steps': list(one.steps),
        'part': 'step',
        'variant': variant.name,
        'dtype': one.dtype,
        'batch': batch,
    }
    try:
        timing = _time(one.stage, variant, batch, settings)
    except Exception as error:  # too little memory is told in more than one way
        return {**known, 'error': one_line(error)}
    counts = one.dtype == 'float32' or surroundings.bfloat16_counts(settings.device)
    rate = timing.rate(batch)
    return {**known, 'counts': counts, 'images_per_second': rate, 'seconds': list(timing.seconds)}


def _time(stage: Stage, variant: Variant, batch: int, settings: Settings) -> Timing:
    if variant.compiled:
        # as in training: what one kind of block cannot do, it does plainly
        torch._dynamo.config.suppress_errors = True
    formulation = Formulation(stage, settings.size, settings.device, variant)
    task = formulation.timed('step', random_batch(stage, batch, settings.size))
    for _ in range(_WARM_UP):
        task()()
    return alternate({'step': task}, settings.rounds)['step']


def _free(device: str) -> None:
    """Give back what a network took, so that the next one has all the memory."""
    torch.compiler.reset()
    gc.collect()
    if device.startswith('cuda'):
        torch.cuda.empty_cache()
