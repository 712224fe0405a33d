"""What each way to cheaper distillation takes, next to the same step without it.

``python -m benchmarks.cheaper --out docs/results/speed/cheaper.json`` times both in turn, in one
process, and writes the ratio of every round. The reference of ``tools/benchmark.py`` is no part of
it: here both sides are this project's.
"""

from __future__ import annotations

import argparse
import gc
import json
import shlex
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from g2sd_mm.cli.exit_codes import run_command
from g2sd_mm.whole_files import write_text

from .speed import surroundings
from .speed.batches import random_batch
from .speed.formulation import Formulation, Variant
from .speed.pairing import Ratio, alternate
from .speed.stages import SIZES, STAGES, Stage


@dataclass(frozen=True)
class Pair:
    """A stage, what is added to it, and what the ratio of the times may be at most.

    ``side`` is that of the images, in pixels, where they are smaller.
    """

    stage: str
    extra: str | None = None
    goal: float | None = None
    side: int | None = None


PAIRS = {
    'both': Pair('generic_vits', 'both', goal=1.4),
    'low_resolution': Pair('generic_vits', side=128),
    'answers': Pair('generic_vits', 'answers'),
    'int8': Pair('generic_vits', 'int8'),
    'float8': Pair('generic_vits', 'float8'),
    'attended50': Pair('cls_vits', 'attended50'),
}


#: Options whose teacher answers otherwise, by rounding.
_ROUNDED = ('int8', 'float8')


def measure(
    name: str, dtype: str = 'float32', size: str = 'full', device: str = 'cpu',
    batch: int | None = None, rounds: int = 5,
) -> dict[str, Any]:
    """Time of a step with an option over that of a step without it, round by round.

    Args:
        name: of :data:`PAIRS`.
        dtype: precision of students and teacher.
        size, device: see :mod:`benchmarks.speed.stages`.
        batch: images; None for the stage's own.
        rounds: counted ones.
    """
    pair = PAIRS[name]
    stage = STAGES[pair.stage]
    batch = batch or (stage.batch if device == 'cpu' else stage.gpu_batch)
    changed = stage
    if pair.side and size == 'full':  # a toy's images are small already
        sides = {'model.img_size': pair.side, 'distillation.teacher.img_size': pair.side}
        changed = replace(stage, side=pair.side, options={**stage.options, **sides})
    sides_of = {'plain': (stage, None), name: (changed, pair.extra)}
    built = {
        key: Formulation(one, size, device, Variant(dtype, extra=extra))
        for key, (one, extra) in sides_of.items()
    }
    tasks = {
        key: built[key].timed('step', random_batch(one, batch, size))
        for key, (one, _) in sides_of.items()
    }
    error = feature_error(*built.values(), changed, size) if pair.extra in _ROUNDED else None
    timings = alternate(tasks, rounds)
    ratio = Ratio.of(timings['plain'], timings[name])
    return {
        'option': name, 'stage': stage.name, 'dtype': dtype, 'batch': batch, 'size': size,
        'time_ratio': asdict(ratio), 'goal': pair.goal, 'feature_error': error,
        'seconds': timings[name].seconds, 'plain_seconds': timings['plain'].seconds,
    }  # fmt: skip


def feature_error(plain: Formulation, other: Formulation, stage: Stage, size: str) -> float:
    """Size of the difference of two teachers' features over that of the first one's.

    Their weights are random, and the same.
    """
    ready = plain.prepare('teacher', random_batch(stage, 2, size))
    view = plain.model.student.draw_view(ready['inputs'], ready['data_samples'])
    one, two = (f.model.teacher(ready['inputs'], view).tokens.float() for f in (plain, other))
    return float((two - one).norm() / one.norm())


def run(args: argparse.Namespace) -> None:
    """Measure what was asked for; the file is written anew after every pair."""
    if args.threads:
        torch.set_num_threads(args.threads)
    loads, figures = [surroundings.load_average()], []
    for name in args.options or PAIRS:
        for dtype in args.dtype:
            figure = measure(name, dtype, args.size, args.device, args.batch, args.rounds)
            figures.append(figure)
            gc.collect()
            loads.append(surroundings.load_average())
            ratio: Any = Ratio(**figure['time_ratio'])
            off = figure['feature_error']
            ratio = ratio if off is None else f'{ratio} (error of features {off:.2%})'
            goal = f', goal at most {figure["goal"]}' if figure['goal'] else ''
            print(f'{figure["stage"]}, {dtype}, {name}: {ratio} x the time{goal}', flush=True)
            if args.out:
                content = {
                    'command': shlex.join(['python', '-m', 'benchmarks.cheaper', *sys.argv[1:]]),
                    'environment': surroundings.describe(args.device, loads),
                    'figures': figures,
                }
                args.out.parent.mkdir(parents=True, exist_ok=True)
                write_text(args.out, json.dumps(content, indent=1) + '\n')


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog='python -m benchmarks.cheaper', description=__doc__)
    p.add_argument('--options', nargs='+', choices=PAIRS, help='what to measure (all)')
    p.add_argument('--dtype', nargs='+', choices=('float32', 'bfloat16'), default=['float32'])
    p.add_argument('--batch', type=int, help="images a step (the stage's own)")
    p.add_argument('--rounds', type=int, default=5, help='counted rounds (5)')
    p.add_argument('--threads', type=int, help="torch's threads on a CPU (torch's own choice)")
    p.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    p.add_argument('--size', choices=SIZES, default='full')
    p.add_argument('--out', type=Path, help='write all figures to this JSON file')
    return p


if __name__ == '__main__':
    chosen = parser().parse_args()
    run_command(lambda: run(chosen))
