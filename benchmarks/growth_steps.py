"""How a training step, and the start of a run, grow with classes, objects and processes.

``python -m benchmarks.growth_steps --out docs/results/speed/growth_steps.json``: steps of stage 2
with networks of the size of a test, beside which such growth is seen best, each number in a process
of its own, one after the other. Classification with 10 to 21,000 classes, detection with 1 to 1,000
objects in a picture, and 1 to 4 processes over gloo, which share the cores. ``seconds`` are medians
of steps; ``start_seconds`` go from the start of a process to the end of its first step;
``bytes`` are what a step adds at its highest to the memory before it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from g2sd_mm.cli.exit_codes import run_command

from .growth import grows_faster
from .speed.processes import in_ranks
from .speed.stages import STAGES, Stage

#: What grows -> the numbers that are measured.
NUMBERS = {
    'classes': (10, 100, 1000, 10_000, 21_000),
    'objects': (1, 10, 100, 1000),
    'processes': (1, 2, 4),
}
_BATCH = {'classes': 16, 'objects': 1, 'processes': 16}
_STEPS = 15  # timed, after two that are not


def stage_of(part: str, number: int) -> Stage:
    """The stage whose steps are timed, with so many classes where it is they that grow."""
    if part == 'objects':
        return STAGES['det_vits']
    stage = STAGES['cls_vits']
    if part == 'classes':
        return dataclasses.replace(stage, options={'num_classes': number})
    return stage


def batch_of(part: str, number: int, stage: Stage, seed: int = 0) -> dict[str, Any]:
    """A batch of random images with labels of so many classes, or with so many objects."""
    from .speed.batches import random_batch

    objects = {'objects': number} if part == 'objects' else {}
    batch = random_batch(stage, _BATCH[part], 'toy', seed, **objects)
    if part == 'classes':
        for place, sample in enumerate(batch['data_samples']):
            sample.set_gt_label(place % number)
    return batch


def measure(part: str, number: int, started: float) -> dict[str, Any]:
    """Figures of this process, which should have done nothing else; ``started`` is its start."""
    import torch

    from .speed.formulation import Formulation
    from .speed.memory import make_moments
    from .speed.process_memory import forget_peak, give_back, status

    torch.set_num_threads(1)
    stage = stage_of(part, number)
    formulation = Formulation(stage, 'toy')
    model: Any = formulation.model
    rank = int(os.environ.get('RANK', 0))
    if part == 'processes':
        import torch.distributed as dist
        from mmengine.model import MMDistributedDataParallel

        dist.init_process_group('gloo')
        model = MMDistributedDataParallel(model, broadcast_buffers=False)
    batch = batch_of(part, number, stage, seed=rank)

    def step() -> tuple[float, float]:
        ready = formulation.prepare('step', batch)
        wall, cpu = time.perf_counter(), time.process_time()
        model.train_step(ready, formulation.optimizer)
        return time.perf_counter() - wall, time.process_time() - cpu

    make_moments(formulation.optimizer.optimizer)
    give_back()
    forget_peak()
    before = status('VmRSS')
    step()
    figures = {'start_seconds': time.time() - started, 'bytes': status('VmHWM') - before}
    step()
    seconds, cpu = zip(*(step() for _ in range(_STEPS)), strict=True)
    return {
        **figures, 'seconds': statistics.median(seconds), 'lowest': min(seconds),
        'highest': max(seconds), 'cpu_seconds': statistics.median(cpu),
    }  # fmt: skip


def in_processes(part: str, number: int) -> dict[str, Any]:
    """:func:`measure` in a process of its own, or in so many: of the slowest, or the largest.

    Raises:
        RuntimeError: if a process fails, with the end of what it said.
    """
    said = in_ranks(
        'benchmarks.growth_steps', ['--child', part, str(number), str(time.time())],
        number if part == 'processes' else 1, f'a step of {number} {part}',
    )  # fmt: skip
    each = [json.loads(line) for line in said]
    return {key: max(figures[key] for figures in each) for key in each[0]}


def run(
    numbers: dict[str, tuple[int, ...]],
    out: Path | None,
    measured: Callable[[str, int], dict[str, Any]] = in_processes,
) -> dict[str, Any]:
    """Measure all numbers; the file is written after each."""
    from .speed import surroundings

    loads = [surroundings.load_average()]
    figures: dict[str, list[dict[str, Any]]] = {part: [] for part in numbers}
    content: dict[str, Any] = {}
    for part, of_part in numbers.items():
        for number in of_part:
            figure = {'number': number, **measured(part, number)}
            figures[part].append(figure)
            loads.append(surroundings.load_average())
            print(f'{number} {part}: {1000 * figure["seconds"]:.1f} ms a step '
                  f'({1000 * figure["cpu_seconds"]:.1f} of the CPU), '
                  f'{figure["bytes"] / 2**20:.0f} MiB, first step after '
                  f'{figure["start_seconds"]:.1f} s; load {loads[-1]}', flush=True)  # fmt: skip
            content = {
                'command': shlex.join(['python', '-m', 'benchmarks.growth_steps', *sys.argv[1:]]),
                'environment': surroundings.describe('cpu', loads), 'figures': figures,
                'faster_than_linear': [
                    f'{part}: {line}' for part, of_part in figures.items()
                    for key in ('cpu_seconds', 'bytes', 'start_seconds')
                    for line in grows_faster(of_part, key, 'number')
                ],
            }  # fmt: skip
            if out:
                out.parent.mkdir(parents=True, exist_ok=True)
                out.write_text(json.dumps(content, indent=1) + '\n')
    print('; '.join(content['faster_than_linear']) or 'nothing grows faster than linearly')
    return content


def main() -> None:
    """The command line."""
    p = argparse.ArgumentParser(prog='python -m benchmarks.growth_steps', description=__doc__)
    p.add_argument('--out', type=Path, help='write all figures to this JSON file')
    p.add_argument('--child', nargs=3, help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.child:
        part, number, started = args.child
        print(json.dumps(measure(part, int(number), float(started))))
    else:
        run_command(lambda: run(NUMBERS, args.out) and None)


if __name__ == '__main__':
    main()
