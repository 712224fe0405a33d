"""``tools/reproduce.py``: run a table's rows and report what came out."""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RunError, UserError
from ..text import printable
from .exit_codes import run_command, said_when_stopped
from .options import add_data_options, command_parser, take_choices

if TYPE_CHECKING:
    from ..bench.suites.data import OwnData
    from ..bench.suites.suites import Suite

EXAMPLES = """examples:
  python tools/reproduce.py --suite demo
  python tools/reproduce.py --suite demo --rows scratch g2sd_nosd --seeds 0 1 2
  python tools/reproduce.py --suite mini --tasks cls --seeds 0
  python tools/reproduce.py --suite mini --data-root /data/my_images /data/my_coco --smoke
  python tools/reproduce.py --suite mini --data-root /data/my_images /data/my_coco
  python tools/reproduce.py --suite mini --tasks cls --add my_idea.py
  python tools/reproduce.py --suite mini --tables baselines --tasks cls
  python tools/reproduce.py --suite paper --dry-run
  python tools/reproduce.py --suite paper --tables main --launcher slurm --partition gpu --resume
  python tools/reproduce.py report work_dirs/demo

A suite that was interrupted or killed resumes when the same command is given again.
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``reproduce``."""
    p = command_parser(
        'Run the rows of a results table, skip what is finished, resume what was '
        'interrupted, and write results.json and report.html.',
        EXAMPLES,
    )
    p.add_argument(
        'report', nargs='*', metavar='report DIR',
        help='"report DIR" runs nothing: it rewrites report.html from the results in DIR '
        '(results.json, or a record with rows/)',
    )  # fmt: skip
    p.add_argument('--suite', choices=['demo', 'mini', 'league', 'paper'], help='suite to run')
    p.add_argument(
        '--tasks', action='extend', nargs='+',
        help='only these tasks (cls, det, seg, and depth, which runs only if it is named)',
    )  # fmt: skip
    p.add_argument(
        '--rows', action='extend', nargs='+',
        help='only these methods, with the runs that they need',
    )  # fmt: skip
    p.add_argument(
        '--students', action='extend', nargs='+', help='only these networks (vitb, vits, vitt)',
    )  # fmt: skip
    p.add_argument(
        '--tables', action='extend', nargs='+',
        help='only these tables (mini: main, labels, and baselines, which run only if they are '
        'named; paper: main, baselines, decoder, ...)',
    )  # fmt: skip
    p.add_argument(
        '--add', action='extend', nargs='+', metavar='CONFIG',
        help='configs of your own: a row for each, beside the rows of the suite',
    )  # fmt: skip
    p.add_argument(
        '--seeds', action='extend', nargs='+', type=int, help='seeds to run (0; for mini 0 1 2)',
    )  # fmt: skip
    p.add_argument(
        '--jobs', type=int,
        help='runs at a time (one per core up to 4; with a GPU 1; for paper 1)',
    )  # fmt: skip
    p.add_argument('--out', help='folder of the results (work_dirs/<suite>[_<data>])')
    p.add_argument(
        '--resume', action='store_true',
        help='also resume runs that were started by hand, and print commands that resume in the '
        'dry run of paper (the unfinished runs of a suite itself always resume)',
    )  # fmt: skip
    p.add_argument('--dry-run', action='store_true', help='print the commands and stop')

    demo = p.add_argument_group('demo')
    demo.add_argument(
        '--teachers', choices=['given', 'train'], default='given',
        help='take the teachers that come with the project, or train them too (given)',
    )  # fmt: skip

    mini = p.add_argument_group('mini')
    mini.add_argument(
        '--data-root', action='extend', nargs='+', metavar='DIR',
        help='your own data: one or more folders, of any layout that check_data reads',
    )  # fmt: skip
    add_data_options(mini)
    mini.add_argument(
        '--smoke', action='store_true',
        help='test whether everything runs on these data: two updates per run, kept separately',
    )  # fmt: skip
    mini.add_argument(
        '--record', metavar='DIR',
        help='folder of finished rows (docs/results/mini; with --data-root record/ in --out)',
    )  # fmt: skip

    paper = p.add_argument_group('paper')
    paper.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm'], default='pytorch',
        help='launcher of the processes of a run (pytorch)',
    )  # fmt: skip
    paper.add_argument('--gpus', type=int, default=8, help='GPUs of each run (8)')
    paper.add_argument('--partition', default='', help='Slurm partition')
    paper.add_argument('--no-amp', action='store_true', help='train in float32')
    paper.add_argument('--weights', default='weights', help='folder of published files (weights)')
    paper.add_argument(
        '--throughput', metavar='FILE',
        help='output of tools/benchmark.py --suite paper --out, to compute GPU hours',
    )  # fmt: skip
    return p


def main() -> None:
    """Entry point of ``tools/reproduce.py``."""
    args = parser().parse_args()
    if args.report and (args.report[0] != 'report' or len(args.report) != 2):
        parser().error(f'expected "report DIR", got {" ".join(args.report)}')
    if not args.report and not args.suite:
        parser().error('say which suite: --suite demo, mini, league or paper (or "report DIR")')
    run_command(lambda: _report(Path(args.report[1])) if args.report else _run(args))


def _run(args: argparse.Namespace) -> None:
    with said_when_stopped('reproduce') as typed:
        _run_suite(args, typed)


def _run_suite(args: argparse.Namespace, typed: str) -> None:
    from ..bench.suites.budget import amounts, read_throughput, refuse_too_few
    from ..bench.suites.commands import HERE, Launcher
    from ..bench.suites.derived import refuse_left_out
    from ..bench.suites.jobs import default_jobs, refuse_too_small
    from ..bench.suites.plan import describe, local_commands, missing_data, with_given_files

    refuse_too_small('--jobs', args.jobs, 1)
    refuse_too_small('--gpus', args.gpus, 1)
    for seed in args.seeds or ():
        refuse_too_small('--seeds', seed, 0)
    suite, data = _suite(args)
    rows = suite.select(
        task=args.tasks, method=args.rows, student=args.students, table=args.tables
    )
    refuse_left_out(suite, rows, args.add or ())
    if args.teachers == 'given':
        suite = with_given_files(suite, rows)
    seeds = list(dict.fromkeys(args.seeds or suite.seeds))
    named = f'{suite.name}_{data.name}' if data else suite.name
    folder = Path(args.out or Path('work_dirs') / named)
    if data and suite.record and not args.record:
        # names and figures of a person's own data are nothing to leave in a checkout unasked
        suite = replace(suite, record=str(folder / 'record'))
    _refuse_other_results(folder, suite, data, args.smoke)
    if data:
        print(''.join(f'{printable(note)}\n' for note in data.notes), end='', flush=True)
        refuse_too_few(suite, rows, data)
    launcher = HERE
    if suite.launched:
        launcher = Launcher(args.launcher, args.gpus, args.partition, amp=not args.no_amp)
        if args.launcher == 'pytorch' and (args.jobs or 1) > 1:
            raise UserError(
                f'--jobs {args.jobs} with --launcher pytorch: runs at once would take the same '
                'GPUs; leave it out, or use --launcher slurm'
            )
    if args.dry_run:
        if suite.launched:
            rates, weights = read_throughput(args.throughput), Path(args.weights)
            plan = describe(suite, rows, seeds, folder, weights, launcher, rates, args.resume)
        else:
            comments = (f'# {line}' for line in amounts(suite, rows, data))
            plan = chain(comments, local_commands(suite, rows, seeds, folder))
        for line in plan:
            print(line)
        return
    from ..bench.suites.pictures import draw_pictures
    from ..bench.suites.run import run_suite
    from ..progress import Bars

    if suite.launched and (missing := missing_data(suite, rows)):
        more = f' (and {len(missing) - 1} more, see --dry-run)' if missing[1:] else ''
        raise UserError(
            f'no data at {missing[0]}{more}; --tasks and --tables leave out what needs it'
        )
    if data and not args.smoke:
        print('\n'.join(amounts(suite, rows, data)), flush=True)
    with Bars(every=60) as bars:
        results = run_suite(
            suite,
            rows,
            seeds,
            folder,
            jobs=args.jobs or (1 if suite.launched else default_jobs()),
            say=bars.say,
            command=typed,
            launcher=launcher,
            resume=args.resume,
            data=data,
            bars=bars,
        )
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


#: Options that say nothing to other suites.
_FOR = {
    **dict.fromkeys(('data_root', 'smoke'), ('mini',)), 'teachers': ('demo', 'league'),
    **dict.fromkeys(('launcher', 'gpus', 'partition', 'no_amp', 'throughput'), ('paper',)),
}  # fmt: skip


def _suite(args: argparse.Namespace) -> tuple[Suite, OwnData | None]:
    """The suite that is asked for, on the data that it is asked for."""
    from ..bench.suites.catalogue import SUITES
    from ..bench.suites.data import find_data
    from ..bench.suites.derived import smoke, with_custom_rows
    from ..bench.suites.plan import with_public_files

    usual = parser().get_default
    for option, suites in _FOR.items():
        if args.suite not in suites and getattr(args, option) != usual(option):
            raise UserError(f'--{option.replace("_", "-")} is for --suite {" and ".join(suites)}')
    if args.smoke and args.record:
        raise UserError('--smoke makes no rows that are worth a record: leave out --record')
    weights = Path(args.weights)
    if args.weights != usual('weights') and not weights.is_dir():
        raise UserError(f'--weights {weights}: no such folder, and teachers would be trained anew')
    suite, data = with_public_files(SUITES[args.suite], weights), None
    if args.add:
        suite = with_custom_rows(suite, args.add)
    if args.data_root:
        data = find_data(args.data_root, take_choices(vars(args)))
        suite = data.apply(suite)
    if args.smoke:
        suite = smoke(suite)
    return (replace(suite, record=args.record) if args.record else suite), data


def _refuse_other_results(
    folder: Path, suite: Suite, data: OwnData | None, smoke: bool = False
) -> None:
    """A folder has the runs of one suite on one set of data: others would write over them.

    Of a smoke run nothing is worth keeping, and what it shows is mended in the data.
    """
    from ..bench.results import read_results
    from ..bench.suites.data import difference

    place = folder / 'results.json'
    if not place.is_file():
        return
    there = read_results(place)
    found = ' on '.join(filter(None, [there['suite'], there.get('data')]))
    wanted = ' on '.join(filter(None, [suite.name, data.name if data else None]))
    if found != wanted:
        raise UserError(
            f'{folder} has the results of {found}, not of {wanted}: give another folder by --out'
        )
    other = difference(there.get('fingerprints'), data.fingerprints) if data else ''
    if data and other and not smoke:
        raise UserError(
            f'{folder} has the results of {suite.name} on other data called {data.name} ({other}): '
            'give another folder by --out, or move this one away'
        )


def _report(folder: Path) -> None:
    """Print the table and write ``report.html`` beside ``results.json``.

    Of a record its rows are merged before, and own data have a ``report_<data>.html``.
    """
    if not (folder / 'rows').is_dir():
        _report_file(folder / 'results.json', folder)
        return
    from ..bench.logs import SHAPES
    from ..bench.suites.record import read_rows
    from ..bench.suites.run import merge_rows

    merge_rows(folder)
    files = [*folder.glob('results.json'), *sorted(folder.glob('results_*.json'))]
    names = {file.stem.partition('_')[2] for file in files}
    for source in read_rows(folder):
        if source not in {*names, SHAPES}:
            line = (
                f'{folder} has rows on {source} and no results_{source}.json: --data-root with '
                f'these data and --record {folder} makes it, and trains nothing that is done'
            )
            if not files:
                raise UserError(line)
            print(printable(line))
    for file in files or [folder / 'results.json']:
        _report_file(file, folder, record=True)


def _report_file(place: Path, folder: Path, record: bool = False) -> None:
    """The table and the page of one ``results.json``, with what lies beside it."""
    from ..bench.reports.page import SMOKE, notices, render
    from ..bench.reports.summary import summarise, verdicts
    from ..bench.reports.tables import text_table
    from ..bench.results import read_results
    from ..whole_files import write_page

    results = read_results(place)
    lines = summarise(results['rows'], results['suite'])
    print()
    for notice in notices(results):
        print(f'{notice}\n')
    print(text_table(lines))
    print()
    for sentence in verdicts(lines) if not results['suite'].endswith(SMOKE) else ():
        print(sentence)
    made, data = [folder], results.get('data')
    if record:
        if data and place.name != 'results.json' and (folder / 'results.json').is_file():
            made = []  # what lies there is of the other results
        # a record may have rows alone: pictures and analyses lie where the suite was run
        name = '_'.join([results['suite'], *([data] if data else [])])
        if Path(name).name == name != '..':
            made.append(Path('work_dirs') / name)
    page = place.with_name(place.name.replace('results', 'report', 1)).with_suffix('.html')
    write_page(page, render(results, *made))
    print('\n' + printable(f'{place}  {page}'))
