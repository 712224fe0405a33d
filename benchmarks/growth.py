"""How the start of a run grows with its data: time and memory of indexing files and classes.

``python -m benchmarks.growth --out docs/results/speed/growth.json`` makes folders of hard links to
one picture, so that two million names take no room, and indexes each in a process of its own. It
says where something grows faster than linearly.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from g2sd_mm.cli.exit_codes import run_command
from g2sd_mm.errors import UserError

#: Images, and images with a number of classes other than a thousand.
SIZES = (
    (1_000, 1000), (10_000, 1000), (100_000, 1000), (400_000, 1000), (1_281_167, 1000),
    (2_000_000, 1000),
)  # fmt: skip
CLASSES = ((100_000, 10), (100_000, 21_000))
_LINEAR = 1.5  # times the growth of a straight line through the sizes before it is noise
_LINKS = 60_000  # to one file: file systems have a limit


def make_links(folder: Path, images: int, classes: int) -> None:
    """``folder/class_00000/00000000.jpg`` and so on, as many as asked for, all of one picture."""
    source = folder.parent / f'{folder.name}.picture'
    names = [folder / f'class_{number:05d}' for number in range(classes)]
    for name in names:
        name.mkdir(parents=True)
    for number in range(images):
        if number % _LINKS == 0:
            source.unlink(missing_ok=True)
            source.write_bytes(_picture())
        os.link(source, names[number % classes] / f'{number:08d}.jpg')


def _picture() -> bytes:
    import cv2
    import numpy as np

    return cv2.imencode('.jpg', np.zeros((64, 64, 3), np.uint8))[1].tobytes()


def index(folder: Path) -> dict[str, Any]:
    """Seconds and memory of a data set of those files as stage 2 builds it; in this process."""
    import mmpretrain.datasets  # noqa: F401
    from mmengine.registry import DATASETS, DefaultScope

    import g2sd_mm

    g2sd_mm.register_all()
    cfg = dict(type='SeededDataset', dataset=dict(
        type='CustomDataset', data_root=str(folder), pipeline=[dict(type='LoadImageFromFile')]))
    before, wall, cpu = _memory(), time.perf_counter(), time.process_time()
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(cfg)
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    wall = time.perf_counter()
    number = len(dataset)
    for place in range(0, number, max(1, number // 64)):
        dataset[place]
    return {
        'images': number, 'classes': len(dataset.metainfo['classes']), 'seconds': seconds,
        'cpu_seconds': cpu_seconds, 'bytes': _memory() - before,
        'seconds_a_read': (time.perf_counter() - wall) / min(number, 64),
    }  # fmt: skip


def in_a_process(folder: Path) -> dict[str, Any]:
    """:func:`index` in a process of its own."""
    child = [sys.executable, '-m', 'benchmarks.growth', '--child', str(folder)]
    done = subprocess.run(child, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def _memory() -> int:
    """Peak bytes of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def grows_faster(figures: list[dict[str, Any]], key: str, size: str = 'images') -> list[str]:
    """Steps from one size to the next at which a figure grows faster than the size does."""
    said = []
    for one, two in itertools.pairwise(figures):
        times, grown = two[size] / one[size], two[key] / max(one[key], 1e-9)
        if two[key] - one[key] > 0 and grown > _LINEAR * times:
            said.append(f'{key}: {one[size]} to {two[size]} {size}, {grown:.1f} times')
    return said


def run(args: argparse.Namespace) -> None:
    """Measure every size up to the largest that is asked for; the file is written after each."""
    from .speed import surroundings

    if args.most < SIZES[0][0]:
        raise UserError(f'--most {args.most}: at least {SIZES[0][0]}')
    loads, figures = [surroundings.load_average()], []
    for images, classes in (*SIZES, *CLASSES):
        if images > args.most:
            continue
        with tempfile.TemporaryDirectory(dir=args.folder) as place:
            folder = Path(place) / 'images'
            make_links(folder, images, classes)
            figure = in_a_process(folder)
        figures.append(figure)
        loads.append(surroundings.load_average())
        print(f'{figure["images"]} images, {figure["classes"]} classes: {figure["seconds"]:.2f} s '
              f'({figure["cpu_seconds"]:.2f} s of the CPU), {figure["bytes"] / 2**20:.0f} MiB, '
              f'{1000 * figure["seconds_a_read"]:.2f} ms a read; load {loads[-1]}',
              flush=True)  # fmt: skip
        rows = [f for f in figures if f['classes'] == 1000]
        content = {
            'command': shlex.join(['python', '-m', 'benchmarks.growth', *sys.argv[1:]]),
            'environment': surroundings.describe('cpu', loads), 'figures': figures,
            'faster_than_linear': [
                line for key in ('cpu_seconds', 'bytes') for line in grows_faster(rows, key)
            ],
        }  # fmt: skip
        if args.out:
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(content, indent=1) + '\n')
    print('; '.join(content['faster_than_linear']) or 'nothing grows faster than linearly')


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog='python -m benchmarks.growth', description=__doc__)
    p.add_argument('--most', type=int, default=2_000_000, help='images at most (2000000)')
    p.add_argument('--folder', type=Path, help='where the links are made (the temporary folder)')
    p.add_argument('--out', type=Path, help='write all figures to this JSON file')
    p.add_argument('--child', type=Path, help=argparse.SUPPRESS)
    return p


def main() -> None:
    """Entry point."""
    args = parser().parse_args()
    if args.child:
        print(json.dumps(index(args.child)))
    else:
        run_command(lambda: run(args))


if __name__ == '__main__':
    main()
