"""Measure stage after stage."""

from __future__ import annotations

import gc
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import torch

from ..reference import ReferenceFormulation, ReleaseFormulation
from . import surroundings
from .arithmetic import matmul_peak, step_flops
from .batches import random_batch
from .build import stage_config
from .figures import Memory, Reading, Scaling, Speed, Startup
from .formulation import PARTS as TIMED
from .formulation import Formulation, Variant
from .memory import measure_memory
from .pairing import Task, alternate
from .pipeline import (
    build_loader,
    build_stock_loader,
    decoding,
    fed_steps,
    reading,
    reading_rate,
)
from .scaling import measure_scaling
from .stages import QUICK, STAGES, Stage
from .startup import measure_startup

_REFERENCE, _RELEASE = 'reference', 'release'
_BATCHES = 4  # that one timing of the input pipeline reads at least

Figure = Speed | Memory | Reading | Startup | Scaling


@dataclass(frozen=True)
class Settings:
    """What to measure, and how.

    Attributes:
        stages: names.
        parts: ``step``, ``teacher``, ``student``, ``input``, ``end_to_end``, ``memory``,
            ``startup``, ``scaling``.
        variants: of this project's formulation; the reference is always float32.
        size: ``full`` or ``toy``.
        device: ``cpu`` or ``cuda``.
        batch: images a step; None for each stage's own.
        quick: steps and their halves are those of :data:`~benchmarks.speed.stages.QUICK`, where
            nothing else is measured.
        pairs: counted rounds.
        threads: torch's on the CPU; None for its own choice.
        workers: processes that read images; 0 reads in the main one.
        images: folder of images in class folders that ``input`` reads; None generates some.
        release: also compare steps with those of the published scripts as a whole.
    """

    stages: tuple[str, ...]
    parts: tuple[str, ...]
    variants: tuple[Variant, ...]
    size: str = 'full'
    device: str = 'cpu'
    batch: int | None = None
    quick: bool = False
    pairs: int = 5
    threads: int | None = None
    workers: int = 0
    images: Path | None = None
    release: bool = False

    def stage(self, name: str) -> Stage:
        """The stage of this name, as it is measured."""
        small = self.quick and self.size == 'full' and set(self.parts) <= set(TIMED)
        return QUICK.get(name, STAGES[name]) if small else STAGES[name]

    def batch_of(self, stage: Stage) -> int:
        """Images a step of this stage."""
        return self.batch or (stage.batch if self.device == 'cpu' else stage.gpu_batch)

    def variants_of(self, stage: Stage) -> list[Variant]:
        """The variants that this stage has."""
        return [variant for variant in self.variants if variant.fits(stage.task)]


def measure(
    settings: Settings, say: Callable[[Figure], None] = lambda _: None
) -> dict[str, Any]:
    """Measure everything; every figure is handed to ``say`` as soon as it is there.

    Returns:
        ``environment``, ``size``, ``peaks`` (operations a second by precision), ``step_flops`` (of
        an image, by stage), ``speed``, ``memory``, ``reading``, ``startup`` and ``scaling``, lists
        of figures.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    loads = [surroundings.load_average()]
    precisions = {'float32', *(variant.dtype for variant in settings.variants)}
    # a test does not wait for processors that emulate bfloat16
    side = None if settings.size == 'full' else 256
    peaks = {dtype: matmul_peak(dtype, settings.device, side) for dtype in sorted(precisions)}
    flops, figures = {}, []
    for name in settings.stages:
        stage = settings.stage(name)
        if {'step', 'end_to_end'} & set(settings.parts):
            flops[stage.name] = step_flops(stage, settings.size, settings.device)
        for figure in _of_stage(stage, settings, flops.get(stage.name), peaks):
            figures.append(figure)
            say(figure)
        loads.append(surroundings.load_average())
    return {
        'environment': surroundings.describe(settings.device, loads),
        'size': settings.size,
        'peaks': peaks,
        'step_flops': flops,
        'speed': [f for f in figures if isinstance(f, Speed)],
        'memory': [f for f in figures if isinstance(f, Memory)],
        'reading': [f for f in figures if isinstance(f, Reading)],
        'startup': [f for f in figures if isinstance(f, Startup)],
        'scaling': [f for f in figures if isinstance(f, Scaling)],
    }


def _of_stage(
    stage: Stage, settings: Settings, flops: float | None, peaks: dict[str, float]
) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        yield from _speeds(stage, settings, flops, peaks, Path(folder))
        if 'input' in settings.parts:
            yield from _readings(stage, settings, Path(folder))
        if 'startup' in settings.parts:
            job = settings.batch_of(stage), settings.pairs, settings.size, settings.device
            yield measure_startup(stage, Path(folder), *job)
    gc.collect()  # the networks above, before others are built in processes of their own
    torch.compiler.reset()
    if 'memory' in settings.parts:
        yield from _memories(stage, settings)
    if 'scaling' in settings.parts and settings.device == 'cpu':
        yield measure_scaling(stage, settings.batch_of(stage), settings.pairs, settings.size)


def _speeds(
    stage: Stage, settings: Settings, flops: float | None, peaks: dict[str, float], folder: Path
) -> Iterator[Speed]:
    parts = [part for part in (*TIMED, 'end_to_end') if part in settings.parts]
    if not parts:
        return
    batch = settings.batch_of(stage)
    where = settings.size, settings.device
    formulations: dict[str, Formulation] = {
        _REFERENCE: ReferenceFormulation(stage, *where),
        **{v.name: Formulation(stage, *where, v) for v in settings.variants_of(stage)},
    }
    for part in parts:
        if part == 'end_to_end':
            steps = 1 if settings.device == 'cpu' else 10
            tasks = _fed(formulations, stage, settings, folder, steps)
        else:
            steps = 1
            raw = random_batch(stage, batch, settings.size)
            tasks = {name: f.timed(part, raw) for name, f in formulations.items()}
            if part == 'step' and settings.release:
                tasks[_RELEASE] = ReleaseFormulation(stage, *where).timed(part, raw)
        timings = alternate(tasks, settings.pairs)
        for variant, other in itertools.product(
            settings.variants_of(stage), (_REFERENCE, *({_RELEASE} & set(timings)))
        ):
            name = variant.name if other == _REFERENCE else f'{variant.name} / {other}'
            yield Speed.of(
                stage.name, part, name, batch, batch * steps,
                timings[variant.name], timings[other],
                counts=variant.dtype == 'float32' or surroundings.bfloat16_counts(settings.device),
                flops=flops if part in ('step', 'end_to_end') else None,
                peaks=(peaks[variant.dtype], peaks['float32']),
            )


def _fed(
    formulations: dict[str, Formulation], stage: Stage, settings: Settings, folder: Path, steps: int
) -> dict[str, Task]:
    batch = settings.batch_of(stage)
    return {
        name: fed_steps(
            f, build_loader(f.cfg, stage, folder, batch, settings.workers, settings.size), steps
        )
        for name, f in formulations.items()
    }


def _readings(stage: Stage, settings: Settings, folder: Path) -> Iterator[Reading | Speed]:
    cfg = stage_config(stage, settings.size)
    batch = settings.batch_of(stage)
    loader = build_loader(
        cfg, stage, folder, batch, settings.workers, settings.size, settings.images
    )
    batches = max(_BATCHES, settings.workers)
    stock = build_stock_loader(loader, stage, settings.size)
    if stock is None:
        yield Reading(stage.name, settings.workers, reading_rate(loader, batches))
        return
    images = batch * batches
    tasks = {'stock': reading(stock, batches), 'pipeline': reading(loader, batches)}
    if not settings.workers:
        tasks['decoding alone'] = decoding(loader, images)
        tasks['decoding at 1/8'] = decoding(loader, images, reduction=8)
    cv2.setNumThreads(0)  # as in a training run and its workers
    # without workers everything happens in this process: seconds of one core, whoever else works
    clock = time.perf_counter if settings.workers else time.process_time
    timings = alternate(tasks, settings.pairs, clock)
    for name in list(tasks)[1:]:
        yield Speed.of(stage.name, 'input', name, batch, images, timings[name], timings['stock'])


def _memories(stage: Stage, settings: Settings) -> Iterator[Memory]:
    job: dict[str, Any] = dict(
        batch=settings.batch_of(stage), size=settings.size, device=settings.device,
        threads=settings.threads,
    )
    reference = measure_memory(stage.name, reference=True, **job)
    for variant in settings.variants_of(stage):
        if not variant.compiled:  # compiling takes memory of its own
            own = measure_memory(
                stage.name, reference=False, dtype=variant.dtype, extra=variant.extra, **job
            )
            yield Memory(stage.name, variant.name, job['batch'], own, reference)
