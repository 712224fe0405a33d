"""Images per second of ``predict`` on many pictures over one call each, at demo size.

``python -m benchmarks.predicting --out docs/results/speed/predict.json``: for each task a student
of the demo's config with random weights, and pictures of the demo's data. Both ways take turns in
one process, each on the threads that it takes by itself (``use_threads``, ``lanes_of``). The ratio
is that within a round, and its median counts, so that a machine that is slower for a while changes
little. Beside the seconds stand those of the CPU, which other work on the machine changes less.
``memory_mb`` is the highest resident memory above that before, while a thousand and several
thousand pictures are predicted.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import g2sd_mm
from g2sd_mm.datasets.shapes import ensure_shapes
from g2sd_mm.students import Student, load_student
from g2sd_mm.students.batches import lanes_of
from g2sd_mm.threads import use_threads
from tests.helpers.students import CONFIGS, student_folder

from .speed.pairing import Ratio, Timing
from .speed.process_memory import forget_peak, give_back, status
from .speed.surroundings import describe, load_average

#: Task -> data of the demo, side of its pictures.
_DATA = {'classification': ('cls', 64), 'detection': ('det', 128), 'segmentation': ('seg', 128),
         'depth': ('depth', 128)}  # fmt: skip


def measure(student: Student, pictures: list[Path], rounds: int) -> dict[str, Any]:
    """Both ways in turns; the first round is not counted."""
    ways = {
        'together': lambda: student.predict(pictures),
        'one_by_one': lambda: [student.predict(path) for path in pictures],
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            started, used = time.perf_counter(), time.process_time()
            results = ways[name]()
            if number:
                seconds[name].append(time.perf_counter() - started)
                cpu[name].append(time.process_time() - used)
            assert len(results) == len(pictures)
    together, alone = (Timing(tuple(seconds[name])) for name in ways)
    median = {name: statistics.median(values) for name, values in cpu.items()}
    return {
        'images_per_second': round(together.rate(len(pictures)), 1),
        'images_per_second_one_by_one': round(alone.rate(len(pictures)), 1),
        'ratio': asdict(Ratio.of(together, alone)),
        'cpu_milliseconds_an_image': {
            name: round(1000 * value / len(pictures), 3) for name, value in median.items()
        },
    }


def memory(student: Student, pictures: list[Path], numbers: tuple[int, ...]) -> dict[str, float]:
    """Highest resident memory above the beginning, MB, by the number of pictures."""

    def some(number: int) -> Iterator[Path]:
        yield from islice(cycle(pictures), number)

    taken = {}
    for _ in student.stream(some(200)):
        pass
    for number in numbers:
        give_back()
        forget_peak()
        before = status('VmRSS')
        for _ in student.stream(some(number)):
            pass
        taken[str(number)] = round((status('VmHWM') - before) / 1e6, 1)
    return taken


def main() -> None:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--tasks', nargs='+', choices=CONFIGS, default=list(CONFIGS))
    p.add_argument('--pictures', type=int, default=1000)
    p.add_argument('--rounds', type=int, default=5)
    p.add_argument('--out', type=Path)
    args = p.parse_args()
    g2sd_mm.register_all()
    loads, figures = [load_average()], []
    with tempfile.TemporaryDirectory() as folder:
        for task in args.tasks:
            key, side = _DATA[task]
            data = ensure_shapes(folder, task=key, train=8, val=args.pictures, size=side)
            pictures = sorted(data.glob('val/**/*.png'))
            assert len(pictures) == args.pictures
            student = load_student(student_folder(Path(folder, task), task))
            said = use_threads(sum(parameter.numel() for parameter in student.parameters()))
            figure = {
                'task': task,
                'pictures': len(pictures),
                'torch': said,
                'lanes': lanes_of('cpu'),
                **measure(student, pictures, args.rounds),
                'memory_mb': memory(student, pictures, (1000, 4000)) if key == 'cls' else None,
            }
            figures.append(figure)
            loads.append(load_average())
            print(json.dumps(figure), flush=True)
    if args.out:
        content = {
            'command': shlex.join(['python', '-m', 'benchmarks.predicting', *sys.argv[1:]]),
            'environment': describe('cpu', loads),
            'predicting': figures,
        }
        args.out.write_text(json.dumps(content, indent=1) + '\n')


if __name__ == '__main__':
    main()
