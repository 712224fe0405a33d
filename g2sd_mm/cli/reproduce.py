"""``tools/reproduce.py``: run a table's rows and report what came out."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .guard import run_command

if TYPE_CHECKING:
    from ..reproduce.commands import Launcher
    from ..reproduce.data import OwnData
    from ..reproduce.suites import Row, Suite

EXAMPLES = """examples:
  python tools/reproduce.py --suite demo
  python tools/reproduce.py --suite demo --rows scratch g2sd_nosd --seeds 0 1 2
  python tools/reproduce.py --suite mini --tasks cls --seeds 0
  python tools/reproduce.py --suite mini --data-root /data/my_images /data/my_coco --smoke
  python tools/reproduce.py --suite mini --data-root /data/my_images /data/my_coco
  python tools/reproduce.py --suite mini --tasks cls --add my_idea.py
  python tools/reproduce.py --suite paper --dry-run
  python tools/reproduce.py --suite paper --tables main --launcher slurm --partition gpu --resume
  python tools/reproduce.py report work_dirs/demo

A suite that was interrupted, or killed, goes on when the same command is given again.
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``reproduce``."""
    p = argparse.ArgumentParser(
        prog='reproduce.py',
        description='Run the rows of a results table, continue where it stopped, and write '
        'results.json and report.html.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument(
        'report',
        nargs='*',
        metavar='report DIR',
        help='only rebuild the report of a folder that holds results.json',
    )
    p.add_argument('--suite', choices=['demo', 'mini', 'paper'], default='demo', help='which table')
    p.add_argument('--tasks', nargs='+', help='only these tasks (cls, det, seg)')
    p.add_argument('--rows', nargs='+', help='only these methods, with what they need')
    p.add_argument('--students', nargs='+', help='only these networks (vitb, vits, vitt)')
    p.add_argument('--tables', nargs='+', help='only these tables of paper (main, decoder, ...)')
    p.add_argument(
        '--add',
        nargs='+',
        metavar='CONFIG',
        help='a row for each of these configs of your own, beside the rows of the suite',
    )
    p.add_argument('--seeds', nargs='+', type=int, help='seeds to run (0; of mini 0 1 2)')
    p.add_argument(
        '--jobs', type=int, help='runs at once (one per core up to 4; with a GPU 1; of paper 1)'
    )
    p.add_argument('--out', help='folder of the results (work_dirs/<suite>[_<data>])')
    p.add_argument(
        '--resume',
        action='store_true',
        help='print commands that go on; go on in runs that were begun by such a command too',
    )
    p.add_argument('--dry-run', action='store_true', help='print the commands and stop')

    mini = p.add_argument_group('mini')
    mini.add_argument(
        '--data-root',
        nargs='+',
        metavar='DIR',
        help='data of your own: an ImageFolder, a COCO folder, images with masks, or several',
    )
    mini.add_argument(
        '--smoke',
        action='store_true',
        help='two updates a run, kept apart: does everything work on these data?',
    )
    mini.add_argument('--record', metavar='DIR', help='finished rows (docs/results/mini)')

    paper = p.add_argument_group('paper')
    paper.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm'],
        default='pytorch',
        help='what starts the processes of a run (pytorch)',
    )
    paper.add_argument('--gpus', type=int, default=8, help='GPUs of each run (8)')
    paper.add_argument('--partition', default='', help='of Slurm')
    paper.add_argument('--no-amp', action='store_true', help='float32 throughout')
    paper.add_argument('--weights', default='weights', help='folder of published files (weights)')
    paper.add_argument(
        '--throughput', metavar='FILE', help='of tools/benchmark.py --out, for the GPU hours'
    )
    return p


def main() -> None:
    """Entry point of ``tools/reproduce.py``."""
    args = parser().parse_args()
    if args.report and (args.report[0] != 'report' or len(args.report) != 2):
        parser().error(f'expected "report DIR", got {" ".join(args.report)}')
    run_command(lambda: _report(Path(args.report[1])) if args.report else _run(args))


def _run(args: argparse.Namespace) -> None:
    # torch then looks for GPUs without starting one, so that the runs can be forked
    os.environ.setdefault('PYTORCH_NVML_BASED_CUDA_CHECK', '1')
    from ..errors import RunError
    from ..reproduce.commands import Launcher

    suite, data = _suite(args)
    rows = suite.select(
        task=args.tasks, method=args.rows, student=args.students, table=args.tables
    )
    seeds = args.seeds or list(suite.seeds)
    named = f'{suite.name}_{data.name}' if data else suite.name
    folder = Path(args.out or Path('work_dirs') / named)
    _refuse_other_results(folder, suite, data)
    launcher = None
    if suite.launched:
        launcher = Launcher(args.launcher, args.gpus, args.partition, amp=not args.no_amp)
        _refuse_shared_gpus(args)
    if args.dry_run:
        _print_plan(args, suite, rows, seeds, folder, launcher)
        return
    from ..progress import Bars
    from ..reproduce.jobs import default_jobs
    from ..reproduce.pictures import draw_pictures
    from ..reproduce.run import run_suite

    if launcher:
        _refuse_without_data(suite, rows)
    with Bars(every=60) as bars:
        results = run_suite(
            suite,
            rows,
            seeds,
            folder,
            args.jobs or (1 if launcher else default_jobs()),
            say=bars.say,
            command=shlex.join(['python', 'tools/reproduce.py', *sys.argv[1:]]),
            launcher=launcher,
            resume=args.resume,
            data=data,
            bars=bars,
        )
    if not launcher:
        done = {row['seed'] for row in results['rows'] if 'error' not in row}
        here = [seed for seed in done if (folder / f'seed{seed}').is_dir()]
        # always of the same seed, in whatever parts the suite is run
        shown = folder / f'seed{min(here, default=seeds[0])}'
        draw_pictures(suite, rows, shown, folder / 'pictures')
    _report(folder)
    failed = [row for row in results['rows'] if 'error' in row]
    if failed:
        raise RunError(
            f'{len(failed)} of {len(results["rows"])} rows failed; the first, '
            f'{failed[0]["method"]}: {failed[0]["error"]}'
        )


def _suite(args: argparse.Namespace) -> tuple[Suite, OwnData | None]:
    """The suite that is asked for, on the data that it is asked for."""
    from ..errors import UserError
    from ..reproduce.catalogue import SUITES
    from ..reproduce.data import find_data
    from ..reproduce.own_rows import with_own_rows
    from ..reproduce.plan import with_public_files
    from ..reproduce.smoke import smoke

    for option in ('data_root', 'smoke'):
        if getattr(args, option) and args.suite != 'mini':
            raise UserError(f'--{option.replace("_", "-")} is for --suite mini')
    if args.smoke and args.record:
        raise UserError('--smoke makes no rows that are worth a record: leave out --record')
    suite, data = with_public_files(SUITES[args.suite], Path(args.weights)), None
    if args.add:
        suite = with_own_rows(suite, args.add)
    if args.data_root:
        data = find_data(args.data_root)
        suite = data.apply(suite)
    if args.smoke:
        suite = smoke(suite)
    return (replace(suite, record=args.record) if args.record else suite), data


def _refuse_other_results(folder: Path, suite: Suite, data: OwnData | None) -> None:
    """A folder has the runs of one suite on one set of data: others would write over them."""
    from ..errors import UserError
    from ..reproduce.run import read_results

    place = folder / 'results.json'
    if not place.is_file():
        return
    there = read_results(place)
    found, wanted = (
        f'{name} on {source}' if source else name
        for name, source in (
            (there['suite'], there.get('data')),
            (suite.name, data.name if data else None),
        )
    )
    if found != wanted:
        raise UserError(
            f'{folder} has the results of {found}, not of {wanted}: give another folder by --out'
        )


def _refuse_shared_gpus(args: argparse.Namespace) -> None:
    """Two torchrun commands at once would take the same port, and the same GPUs."""
    from ..errors import UserError

    if args.launcher == 'pytorch' and (args.jobs or 1) > 1:
        raise UserError(
            f'--jobs {args.jobs} with --launcher pytorch: runs at once would take the same GPUs '
            'and port; leave it out, or use --launcher slurm'
        )


def _print_plan(
    args: argparse.Namespace,
    suite: Suite,
    rows: list[Row],
    seeds: list[int],
    folder: Path,
    launcher: Launcher | None,
) -> None:
    from ..reproduce.plan import describe, plain_commands
    from ..reproduce.throughput import read_throughput

    if launcher is None:
        lines: Iterable[str] = plain_commands(suite, rows, seeds, folder)
    else:
        throughput = read_throughput(args.throughput)
        weights = Path(args.weights)
        lines = describe(
            suite, rows, seeds, folder, weights, launcher, throughput, args.resume
        )
    for line in lines:
        print(line)


def _refuse_without_data(suite: Suite, rows: list[Row]) -> None:
    from ..errors import UserError
    from ..reproduce.plan import missing_data

    missing = missing_data(suite, rows)
    if missing:
        raise UserError(
            f'no data at {missing[0]}'
            + (f' (and {len(missing) - 1} more, see --dry-run)' if missing[1:] else '')
            + '; --tasks and --tables leave out what needs it'
        )


def _report(folder: Path) -> None:
    """Print the table and write ``report.html`` beside ``results.json``."""
    from ..checkpoints.write import write_text
    from ..reports.html import render
    from ..reports.notices import notices
    from ..reports.summary import summarise, verdicts
    from ..reports.table import text_table
    from ..reproduce.run import merge_rows, read_results

    if (folder / 'rows').is_dir():
        merge_rows(folder)
    results = read_results(folder / 'results.json')
    lines = summarise(results['rows'], results['suite'])
    print()
    for notice in notices(results):
        print(f'{notice}\n')
    print(text_table(lines))
    print()
    for sentence in verdicts(lines):
        print(sentence)
    made = [folder]
    if (folder / 'rows').is_dir():
        # a record may have rows alone: pictures and analyses lie where the suite was run
        made.append(Path('work_dirs') / str(results['suite']))
    write_text(folder / 'report.html', render(results, *made))
    print(f'\n{folder / "results.json"}  {folder / "report.html"}')
