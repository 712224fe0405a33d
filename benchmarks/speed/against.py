"""Training steps of another checkout of this project and of this one, taking turns.

    python -m benchmarks.speed.against ../g2sd_mm_0.1 --stages cls_vits det_vits --out pairs.json

Two versions of a package cannot be imported together, so each has a process of its own. One works
while the other waits, in alternate order, so what else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from .stages import ROOT, SIZES, STAGES
from .surroundings import describe, load_average

_WARM_UP = 3
_TOY_BATCHES = {'generic': 64, 'cls': 64, 'det': 2, 'seg': 4}


class Side:
    """A checkout's process, which trains a step when it is asked to."""

    def __init__(self, checkout: Path, stage: str, size: str, batch: int, threads: int) -> None:
        server = ROOT / 'benchmarks' / 'speed' / 'step_server.py'
        self.process = subprocess.Popen(
            [sys.executable, str(server), stage, size, str(batch), str(threads)],
            cwd=checkout,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._line() != 'ready':
            raise RuntimeError(f'{checkout}: {stage} cannot be built there, see above')

    def step(self) -> float:
        """Seconds of a training step."""
        assert self.process.stdin
        self.process.stdin.write('step\n')
        self.process.stdin.flush()
        return float(self._line())

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()


def compare(
    other: Path, stage: str, size: str, batch: int, threads: int, rounds: int
) -> dict[str, Any]:
    """Time of a step here over that of the other checkout: median, middle half, milliseconds."""
    sides = [Side(other.resolve(), stage, size, batch, threads)]
    try:
        sides.append(Side(ROOT, stage, size, batch, threads))
        pairs = []
        for number in range(_WARM_UP + rounds):
            if number % 2:
                before, here = sides[0].step(), sides[1].step()
            else:
                here, before = sides[1].step(), sides[0].step()
            if number >= _WARM_UP:
                pairs.append((before, here))
    finally:
        for side in sides:
            side.close()
    ratios = [here / before for before, here in pairs]
    low, median, high = statistics.quantiles(ratios, n=4)
    return {
        'stage': stage,
        'size': size,
        'batch': batch,
        'rounds': rounds,
        'here_over_other': round(median, 4),
        'middle_half': [round(low, 4), round(high, 4)],
        'other_ms': round(1e3 * statistics.median(before for before, _ in pairs), 2),
        'here_ms': round(1e3 * statistics.median(here for _, here in pairs), 2),
    }


def main(argv: list[str] | None = None) -> None:
    """Compare the stages one after the other; each line is written as soon as it is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('other', type=Path, help='checkout of another version')
    parser.add_argument('--stages', nargs='+', choices=list(STAGES), default=list(STAGES))
    parser.add_argument('--size', choices=SIZES, default='full', help='of the networks (full)')
    parser.add_argument('--batch', type=int, help='images a step (depends on the stage)')
    parser.add_argument('--rounds', type=int, default=30, help='pairs of steps (30)')
    parser.add_argument('--threads', type=int, default=1, help="torch's threads (1)")
    parser.add_argument('--out', type=Path, help='JSON file; lines of earlier calls are kept')
    args = parser.parse_args(argv)
    if not (args.other / 'g2sd_mm').is_dir():
        parser.error(f'{args.other} holds no g2sd_mm: give the root of a checkout')
    torch.set_num_threads(args.threads)
    for name in args.stages:
        stage = STAGES[name]
        batch = args.batch or (stage.batch if args.size == 'full' else _TOY_BATCHES[stage.task])
        loads = [load_average()]
        line = compare(args.other, name, args.size, batch, args.threads, args.rounds)
        print(json.dumps(line), flush=True)
        if args.out:
            kept = json.loads(args.out.read_text())['lines'] if args.out.exists() else []
            kept = [k for k in kept if (k['stage'], k['size']) != (name, args.size)]
            line['environment'] = describe('cpu', [*loads, load_average()])
            args.out.write_text(json.dumps({'lines': [*kept, line]}, indent=1) + '\n')


if __name__ == '__main__':
    main()
