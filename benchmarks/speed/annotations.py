"""Reading a COCO annotation file, beside the parsing of its JSON alone.

    python -m benchmarks.speed.annotations --out docs/results/speed/annotations.json

Reading is what a data set gets: parsed, optional entries filled in, and every entry checked. Both
take turns on the same file, in CPU seconds, which other work on the machine changes least.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from g2sd_mm.data_layouts.coco_file import read_annotations

from .surroundings import describe, load_average

_IMAGE = (640, 480)


def write_file(path: Path, number: int, kind: str, seed: int = 0) -> None:
    """An annotation file with random objects, seven in an image.

    Args:
        path: of the JSON.
        number: of annotations.
        kind: ``boxes``, or ``polygons`` of 8 to 30 points as well.
        seed: of the objects.
    """
    draw = random.Random(seed)
    images = max(1, number // 7)
    content: dict[str, Any] = {
        'images': [
            dict(id=i, file_name=f'{i:012d}.jpg', width=_IMAGE[0], height=_IMAGE[1])
            for i in range(images)
        ],
        'categories': [dict(id=i, name=f'class {i}') for i in range(1, 81)],
        'annotations': [],
    }
    for i in range(number):
        x, y, w, h = (round(draw.uniform(8, 200), 2) for _ in range(4))
        entry: dict[str, Any] = dict(
            id=i + 1, image_id=i % images, category_id=i % 80 + 1, bbox=[x, y, w, h], area=w * h,
            iscrowd=0,
        )  # fmt: skip
        if kind == 'polygons':
            points = range(draw.randint(8, 30))
            ring = [(x + draw.random() * w, y + draw.random() * h) for _ in points]
            entry['segmentation'] = [[round(v, 2) for point in ring for v in point]]
        content['annotations'].append(entry)
    path.write_text(json.dumps(content))


def measure(path: Path, rounds: int) -> dict[str, Any]:
    """Median CPU seconds of parsing and of reading, and the ratio's median and range."""
    data = path.read_bytes()
    seconds: dict[str, list[float]] = {'parsed': [], 'read': []}
    for _ in range(rounds):
        seconds['parsed'].append(_timed(lambda: json.loads(data)))
        seconds['read'].append(_timed(lambda: read_annotations(path)))
    ratios = [b / a for a, b in zip(seconds['parsed'], seconds['read'], strict=True)]
    return {
        'megabytes': round(len(data) / 1e6, 1),
        'rounds': rounds,
        'cpu_seconds': {name: round(statistics.median(s), 3) for name, s in seconds.items()},
        'ratio': round(statistics.median(ratios), 2),
        'range': [round(min(ratios), 2), round(max(ratios), 2)],
    }


def _timed(work: Callable[[], Any]) -> float:
    began = time.process_time()
    made = work()
    seconds = time.process_time() - began
    del made  # the next one begins with the same memory
    return seconds


def main(argv: list[str] | None = None) -> None:
    """Measure files of boxes, and of boxes with polygons."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--number', type=int, default=100_000, help='annotations (100,000)')
    parser.add_argument('--rounds', type=int, default=7, help='of both (7)')
    parser.add_argument('--out', type=Path, help='JSON file')
    args = parser.parse_args(argv)
    figures: list[dict[str, Any]] = []
    loads = [load_average()]
    for kind in ('boxes', 'polygons'):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / 'instances.json'
            write_file(file, args.number, kind)
            figures.append({'of': kind, 'annotations': args.number, **measure(file, args.rounds)})
        loads.append(load_average())
        print(json.dumps(figures[-1]), flush=True)
    if args.out:
        found = {
            'command': f'python -m benchmarks.speed.annotations --number {args.number} '
            f'--rounds {args.rounds} --out {args.out}',
            'environment': describe('cpu', loads),
            'figures': figures,
        }
        args.out.write_text(json.dumps(found, indent=2) + '\n')


if __name__ == '__main__':
    main()
