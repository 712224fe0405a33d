"""``tools/benchmark.py --plan``: a machine in a few minutes, the most valuable figures first.

Every part is a process of its own with a bound, so that one that hangs, or has too little memory,
takes nothing from the others; the file is written anew after each. This module needs nothing but
Python: what the machine lacks for a part is said, and the others run.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PLANS = ('short',)
#: What a training step imports; pytest is for the tests alone.
_PACKAGES = ('mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'mmseg', 'timm', 'cv2', 'pycocotools')
_TAIL = 1500  # characters that are kept of what a part that failed said
_LEAST = 10  # seconds that it makes sense to begin a part with


@dataclass(frozen=True)
class Part:
    """One process.

    name: for the file and the table.
    arguments: of ``tools/benchmark.py``; empty for a part with a command of its own.
    seconds: bound; a toy's share of it is :data:`_TOY`.
    command: of a part that is none of ``tools/benchmark.py``.
    needs: packages.
    """

    name: str
    arguments: tuple[str, ...] = ()
    seconds: int = 60
    command: tuple[str, ...] = ()
    needs: tuple[str, ...] = _PACKAGES


def short_plan(device: str, size: str, tests: Path | None = None) -> list[Part]:
    """A GPU in 12 minutes: stage 1 first, since most of the compute is there.

    Args:
        device: ``cuda`` or ``cpu``.
        size: ``toy`` proves that the script works, and measures nothing of use.
        tests: file with tests in the place of all.
    """
    toy, gpu = size == 'toy', device == 'cuda'
    step = ['--pairs', '1' if toy else '3', '--parts', 'step']
    precisions = ['bfloat16', *(['float16'] if gpu else ['float32'])]
    compiled = ['--compile'] if gpu else []
    workers = min(16, os.cpu_count() or 1)

    def steps(stage: str, batch: int, seconds: int, *more: str) -> Part:
        arguments = ['--stages', stage, *step, '--batch', str(2 if toy else batch)]
        return Part(
            f'step {stage}', (*arguments, '--dtype', *precisions, *compiled, *more), seconds
        )

    def other(name: str, stage: str, part: str, batch: int, seconds: int) -> Part:
        arguments = ['--stages', stage, '--parts', part, '--batch', str(2 if toy else batch)]
        arguments += ['--pairs', '1' if toy else '2', '--dtype', 'bfloat16']
        return Part(name, (*arguments, '--workers', str(1 if toy else workers)), seconds)

    float8 = ['--stages', 'generic_vits', *step, '--batch', str(2 if toy else 512)]
    float8 += ['--dtype', 'bfloat16', *compiled, '--with', 'float8']
    python = sys.executable
    script = ROOT / 'benchmarks' / 'speed' / 'bare.py'
    bare = (python, str(script), device, *(['small'] if toy else []))
    which = [str(tests)] if tests else gpu_tests()
    pytest = (python, '-m', 'pytest', '-q', '-m', 'gpu', '-p', 'no:cacheprovider', *which)
    return [
        Part('bare device', command=bare, seconds=45, needs=('torch',)),
        steps('generic_vits', 512, 150),
        steps('det_vits', 8, 110),
        steps('seg_vits', 16, 90),
        steps('cls_vits', 512, 90),
        Part('gpu tests', command=pytest, seconds=100, needs=(*_PACKAGES, 'pytest')),
        other(f'loader, {1 if toy else workers} processes', 'generic_vits', 'input', 256, 60),
        other('memory generic_vits', 'generic_vits', 'memory', 512, 60),
        other('memory det_vits', 'det_vits', 'memory', 8, 60),
        steps('generic_vitt', 512, 90),
        Part('step generic_vits, float8 teacher', tuple(float8), 75),
        other('fed steps', 'generic_vits', 'end_to_end', 256, 60),
        other('memory seg_vits', 'seg_vits', 'memory', 16, 60),
    ]


def gpu_tests() -> list[str]:
    """The files with tests for a GPU: collecting all others takes longer than these take."""
    files = sorted((ROOT / 'tests').rglob('test_*.py'))
    return [str(path) for path in files if 'pytest.mark.gpu' in path.read_text(encoding='utf-8')]


def run_part(part: Part, device: str, size: str, seconds: float) -> dict[str, Any]:
    """What came of a part: ``status`` done, failed, timed out or skipped, and its ``result``."""
    missing = [name for name in part.needs if find_spec(name) is None]
    if missing:
        return {'part': part.name, 'status': 'skipped', 'why': f'no {", ".join(missing)}'}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / 'out.json'
        command = list(part.command) or [
            sys.executable, str(ROOT / 'tools' / 'benchmark.py'), '--device', device,
            '--size', size, *part.arguments, '--out', str(out),
        ]  # fmt: skip
        began = time.perf_counter()
        outcome: dict[str, Any] = {'part': part.name, 'command': shlex.join(command)}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=seconds, cwd=ROOT, check=False
            )
        except subprocess.TimeoutExpired as late:
            said = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ''
            return {**outcome, 'status': 'timed out', 'seconds': seconds, 'said': said[-_TAIL:]}
        outcome['seconds'] = round(time.perf_counter() - began, 1)
        if done.returncode:
            said = (done.stdout + done.stderr)[-_TAIL:]
            return {**outcome, 'status': 'failed', 'code': done.returncode, 'said': said}
        if out.is_file():
            result = json.loads(out.read_text())
        elif done.stdout.startswith('{'):
            result = json.loads(done.stdout)
        else:
            result = done.stdout.strip().splitlines()[-1:]
        return {**outcome, 'status': 'done', 'result': result}


def lines_of(outcome: dict[str, Any]) -> list[str]:
    """A part in lines of text."""
    head = f'{outcome["part"]}: {outcome["status"]}'
    if 'seconds' in outcome:
        head += f' in {outcome["seconds"]:.0f} s'
    result: Any = outcome.get('result')
    if outcome['status'] != 'done':
        said = (outcome.get('why') or outcome.get('said') or '').strip().splitlines()
        return [f'{head} ({said[-1] if said else "it said nothing"})']
    if isinstance(result, list):
        return [f'{head}: {"".join(result)}']
    rates = result.get('products_per_second')
    if rates:
        peaks = ', '.join(f'{name} {rate / 1e12:.2f}' for name, rate in rates.items())
        return [f'{head}: {result["device"]}, matrix products {peaks} TFLOP/s']
    lines = [head]
    for figure in result.get('figures', []):
        share = figure['utilisation']
        lines.append(
            f'  {figure["part"]}, {figure["variant"]}, batch {figure["batch"]}: '
            f'{figure["images_per_second"]:.1f} img/s, {figure["ratio"]["median"]:.2f} x the '
            'reference' + (f', {share:.0%} of the peak' if share else '')
        )
    for figure in result.get('memory', []):
        lines.append(
            f'  memory, {figure["variant"]}, batch {figure["batch"]}: '
            f'{figure["bytes"] / 2**30:.2f} GiB, {figure["ratio"]:.2f} of the reference'
        )
    for figure in result.get('reading', []):
        lines.append(f'  {figure["images_per_second"]:.0f} img/s')
    return lines


def run(
    parts: list[Part], device: str, size: str, minutes: float, out: Path | None = None
) -> dict[str, Any]:
    """Run part after part until the time is over; the file is written after each.

    Returns:
        ``minutes``, ``parts`` with what came of each, and ``seconds`` of all.
    """
    began = time.monotonic()
    outcomes: list[dict[str, Any]] = []
    content: dict[str, Any] = {
        'command': shlex.join(['python', 'tools/benchmark.py', *sys.argv[1:]]),
        'device': device, 'size': size, 'minutes': minutes, 'parts': outcomes,
    }  # fmt: skip
    for part in parts:
        left = 60 * minutes - (time.monotonic() - began)
        if left < _LEAST:
            outcome = {'part': part.name, 'status': 'skipped', 'why': 'the time is over'}
        else:
            outcome = run_part(part, device, size, min(part.seconds, left))
        outcomes.append(outcome)
        print('\n'.join(lines_of(outcome)), flush=True)
        content['seconds'] = round(time.monotonic() - began, 1)
        if out:
            out.parent.mkdir(parents=True, exist_ok=True)
            fresh = out.with_name(f'.{out.name}.tmp')
            fresh.write_text(json.dumps(content, indent=1) + '\n')
            fresh.replace(out)
    return content


def add_options(p: argparse.ArgumentParser) -> None:
    """The options of a plan beside ``--device``, ``--size`` and ``--out``."""
    plan = p.add_argument_group('a machine in a few minutes')
    plan.add_argument('--plan', choices=PLANS,
                      help='instead: steps of every stage, the tests for a GPU, the loader and '
                      'memory, most valuable first, each bounded')
    plan.add_argument('--minutes', type=float, help='of the whole plan (12)')


def main(arguments: list[str] | None = None) -> int:
    """``tools/benchmark.py --plan ...``: 0 if every part could be measured, else 1."""
    p = argparse.ArgumentParser(prog='benchmark.py', description=__doc__)
    add_options(p)
    p.add_argument('--device', choices=('cpu', 'cuda'), default='cuda', help='where (cuda)')
    p.add_argument('--size', choices=('full', 'toy'), default='full', help='of the networks (full)')
    p.add_argument('--tests', type=Path, help='a file with tests, in the place of all')
    p.add_argument('--out', type=Path, default=Path('benchmark_plan.json'),
                   help='written after every part (benchmark_plan.json)')
    args = p.parse_args(arguments)
    minutes = 12 if args.minutes is None else args.minutes
    problem = ''
    if minutes <= 0:
        problem = f'--minutes {minutes:g}: give a time above 0'
    elif args.tests and not args.tests.is_file():
        problem = f'--tests {args.tests}: no such file'
    elif find_spec('torch') is None:
        problem = '--plan needs torch, and this Python has none: install it first'
    elif args.device == 'cuda' and not _sees_gpu():
        problem = '--device cuda needs a GPU and torch sees none: use --device cpu --size toy'
    if problem:
        print(f'error: {problem}', file=sys.stderr)
        return 2
    parts = short_plan(args.device, args.size, args.tests)
    content = run(parts, args.device, args.size, minutes, args.out)
    missing = {o['why'] for o in content['parts'] if o.get('why', '').startswith('no ')}
    if missing:
        print(f'{"; ".join(sorted(missing))}: pip install -e ".[dev]", without a network with '
              '--no-index --find-links FOLDER of wheels')  # fmt: skip
    print(f'{content["seconds"]:.0f} s; {args.out}')
    return int(any(outcome['status'] != 'done' for outcome in content['parts']))


def _sees_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
