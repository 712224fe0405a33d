"""Does bfloat16 train as float32 does? Loss curves of the demo, next to the noise between seeds.

    python -m benchmarks.precision --out docs/results/speed/precision.json

Trains each config three times: float32 with seeds 0 and 1, and seed 0 with teacher and autocast in
bfloat16. ``--runs`` is the folder of a finished demo, whose teachers and stage-1 student they take.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from g2sd_mm.bench.results import describe_environment
from g2sd_mm.runs.train import train

STAGES = ('configs/shapes/g2sd_vits_generic.py', 'configs/shapes/g2sd_vits_cls.py')
_PARTS = 10  # of a curve, as it is published


def curve(config: str, runs: str, seed: int, options: dict[str, Any], folder: Path) -> np.ndarray:
    """Losses of all steps of a run, float64 [steps]."""
    runner = train(config, options, work_dir=str(folder), seed=seed, runs=runs)
    return np.asarray(runner.message_hub.get_scalar('train/loss').data[0])


def compare(config: str, runs: str, folder: Path) -> dict[str, Any]:
    """Curves of a config in both precisions, and how far they are from each other."""
    half = {
        'distillation.teacher.dtype': 'bfloat16', 'optim_wrapper.type': 'AutocastOptimWrapper',
    }
    one = curve(config, runs, 0, {}, folder / 'float32_0')
    other = curve(config, runs, 1, {}, folder / 'float32_1')
    lower = curve(config, runs, 0, half, folder / 'bfloat16_0')
    curves = {'float32, seed 0': one, 'float32, seed 1': other, 'bfloat16, seed 0': lower}
    return {
        'config': config,
        'steps': len(one),
        'mean distance to float32, seed 0': {
            'float32, seed 1': _distance(one, other), 'bfloat16, seed 0': _distance(one, lower)
        },
        'mean loss of each tenth': {
            name: [round(float(part.mean()), 5) for part in np.array_split(losses, _PARTS)]
            for name, losses in curves.items()
        },
    }


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return round(float(np.abs(one - other).mean()), 6)


def main() -> None:
    """Compare the stages and write the figures."""
    p = argparse.ArgumentParser(
        prog='python -m benchmarks.precision', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument('--runs', default='work_dirs/demo/seed0', help='folder of a finished demo')
    p.add_argument('--out', type=Path, required=True, help='JSON file for the figures')
    args = p.parse_args()
    content: dict[str, Any] = {
        'command': f'python -m benchmarks.precision --runs {args.runs} --out {args.out}',
        'environment': describe_environment(), 'stages': [],
    }
    for config in STAGES:
        with tempfile.TemporaryDirectory() as folder:
            content['stages'].append(compare(config, args.runs, Path(folder)))
        args.out.write_text(json.dumps(content, indent=1) + '\n')  # what is done is kept


if __name__ == '__main__':
    main()
