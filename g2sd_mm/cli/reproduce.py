"""``tools/reproduce.py``: run a table's rows and report what came out."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from .guard import run_command

EXAMPLES = """examples:
  python tools/reproduce.py --suite demo
  python tools/reproduce.py --suite demo --rows scratch g2sd_nosd --seeds 0 1 2
  python tools/reproduce.py report work_dirs/demo
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
    p.add_argument('--suite', choices=['demo'], default='demo', help='which table')
    p.add_argument('--tasks', nargs='+', help='only these tasks (cls, det, seg)')
    p.add_argument('--rows', nargs='+', help='only these methods, with what they need')
    p.add_argument('--seeds', nargs='+', type=int, default=[0], help='seeds to run (0)')
    p.add_argument('--jobs', type=int, help='runs at once (one per core up to 4; with a GPU 1)')
    p.add_argument('--out', help='folder of the results (work_dirs/<suite>)')
    p.add_argument('--dry-run', action='store_true', help='print the commands and stop')
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
    from ..errors import UserError
    from ..reproduce.jobs import default_jobs
    from ..reproduce.pictures import draw_pictures
    from ..reproduce.run import plan, run_suite
    from ..reproduce.suites import SUITES

    suite = SUITES[args.suite]
    rows = suite.select(args.tasks, args.rows)
    folder = Path(args.out or Path('work_dirs') / suite.name)
    if args.dry_run:
        print('\n'.join(plan(suite, rows, args.seeds, folder)))
        return
    command = shlex.join(['python', 'tools/reproduce.py', *sys.argv[1:]])
    results = run_suite(
        suite, rows, args.seeds, folder, args.jobs or default_jobs(), say=_say, command=command
    )
    draw_pictures(suite, rows, folder / f'seed{args.seeds[0]}', folder / 'pictures')
    _report(folder)
    failed = [row for row in results['rows'] if 'error' in row]
    if failed:
        raise UserError(
            f'{len(failed)} of {len(results["rows"])} rows failed; the first, '
            f'{failed[0]["method"]}: {failed[0]["error"]}'
        )


def _report(folder: Path) -> None:
    """Print the table and write ``report.html`` beside ``results.json``."""
    from ..checkpoints.write import write_text
    from ..reports.html import render
    from ..reports.summary import summarise, verdicts
    from ..reports.table import text_table
    from ..reproduce.run import read_results

    results = read_results(folder / 'results.json')
    lines = summarise(results['rows'])
    print()
    print(text_table(lines))
    print()
    for sentence in verdicts(lines):
        print(sentence)
    write_text(folder / 'report.html', render(results, folder))
    print(f'\n{folder / "results.json"}  {folder / "report.html"}')


def _say(line: str) -> None:
    print(line, flush=True)
