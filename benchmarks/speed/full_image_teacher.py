"""Stage 1 from an encoder that sees whole images: a step, and its two halves alone.

    python -m benchmarks.speed.full_image_teacher --out docs/results/speed/full_image_teacher.json

A step should cost what the teacher's forward pass and the student's step cost, and nothing more.
ViT-B/14 teaches ViT-S/16 at 224 px, random weights. The three take turns, and each round is
compared with itself.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .batches import random_batch
from .build import build_model, build_optimizer, stage_config
from .pairing import alternate
from .stages import Stage
from .surroundings import describe, load_average

STAGE = Stage(
    'generic_dinov2', 'generic', 'configs/imagenet/g2sd_vits_generic_dinov2.py', 224, 16, 256
)


def measure(stage: Stage, dtype: str, batch: int, rounds: int) -> dict[str, Any]:
    """Median milliseconds of a step, of the teacher and of the student, and the ratio's range.

    ``dtype`` is that of the teacher and of the student's autocast.
    """
    cfg = stage_config(stage, teacher_dtype=dtype)
    distiller = build_model(cfg, 'cpu')
    optimizer = build_optimizer(cfg, distiller, dtype)
    data = random_batch(stage, batch)
    images = distiller.data_preprocessor(data, True)['inputs']
    ask = distiller.distillation.ask_teacher
    known = ask(images)

    def step(answer: Callable[..., dict[str, Any]]) -> Callable[[], Callable[[], None]]:
        def ready() -> Callable[[], None]:
            distiller.distillation.ask_teacher = answer
            mine = {**data, 'inputs': [image.clone() for image in data['inputs']]}
            return lambda: distiller.train_step(mine, optim_wrapper=optimizer)

        return ready

    times = alternate(
        {
            'step': step(ask),
            'teacher': lambda: lambda: ask(images),
            'student': step(lambda *_: known),
        },
        rounds,
    )
    columns = (times[name].seconds for name in ('step', 'teacher', 'student'))
    ratios = [whole / (a + b) for whole, a, b in zip(*columns, strict=True)]
    return {
        'config': stage.config,
        'dtype': dtype,
        'batch': batch,
        'rounds': rounds,
        'milliseconds': {name: round(1e3 * t.median, 1) for name, t in times.items()},
        'step_over_sum': round(statistics.median(ratios), 3),
        'range': [round(min(ratios), 3), round(max(ratios), 3)],
    }


def main(argv: list[str] | None = None) -> None:
    """Measure in float32 and bfloat16."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--batch', type=int, default=16, help='images a step (16)')
    parser.add_argument('--rounds', type=int, default=9, help='of the three (9)')
    parser.add_argument('--threads', type=int, help="torch's threads (torch's own choice)")
    parser.add_argument('--dtypes', nargs='+', default=['float32', 'bfloat16'])
    parser.add_argument('--out', type=Path, help='JSON file')
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    loads, lines = [load_average()], []
    for dtype in args.dtypes:
        lines.append(measure(STAGE, dtype, args.batch, args.rounds))
        loads.append(load_average())
        print(json.dumps(lines[-1]), flush=True)
    if args.out:
        found = {'lines': lines, 'environment': describe('cpu', loads)}
        args.out.write_text(json.dumps(found, indent=1) + '\n')


if __name__ == '__main__':
    main()
