"""``tools/benchmark.py --suite``: the training throughput of all that a suite trains."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from g2sd_mm.errors import RunError, UserError

if TYPE_CHECKING:
    from .throughput import Settings

#: Names of the suites whose dry run tells GPU hours.
SUITES = ('paper',)
_WIDTHS = (34, 18, 5)
# what the other benchmark alone has
_REFUSED = ('stages', 'parts', 'compile', 'extras', 'workers', 'images', 'quick', 'loading')
_CHOICES = ('tasks', 'tables', 'students', 'rows')


def add_options(p: argparse.ArgumentParser) -> None:
    """The options of a suite's throughput."""
    suite = p.add_argument_group('throughput of all that a suite trains')
    suite.add_argument('--suite', choices=SUITES,
                       help='instead: steps of every distinct training of this suite')
    for name in _CHOICES:
        suite.add_argument(f'--{name}', nargs='+', metavar='NAME',
                           help='only these, as in tools/reproduce.py')


def refuse_mixture(args: argparse.Namespace) -> None:
    """A suite has no stages or parts to choose, and stages have no tables.

    Raises:
        UserError: naming the option that does not belong there.
    """
    others = _REFUSED if args.suite else _CHOICES
    given = next((name for name in others if getattr(args, name)), None)
    if given is None:
        return
    option = '--' + ('with' if given == 'extras' else given)
    if args.suite:
        raise UserError(
            f'{option} is not for --suite, which measures whole steps as they are trained'
        )
    raise UserError(f'{option} chooses rows of a suite: add --suite {SUITES[0]}')


def run(args: argparse.Namespace, settings: Settings, save: Callable[[dict], None]) -> None:
    """Measure the suite's workloads; the file is written anew with each of them.

    Raises:
        UserError: for rows that the suite does not have.
        RunError: at the end, if some could not be measured.
    """
    from g2sd_mm.bench.suites.catalogue import SUITES as ALL
    from g2sd_mm.progress import Bars

    from .throughput import measure, workloads_of

    suite = ALL[args.suite]
    rows = suite.select(
        task=args.tasks, method=args.rows, student=args.students, table=args.tables
    )
    workloads = workloads_of(suite, rows, settings.device, args.dtype)
    print(_line('first step', 'variant', 'batch', 'images per second'), flush=True)
    with Bars() as bars:
        bar = bars.add('measured', len(workloads), unit='workloads')

        def say(measured: dict[str, Any]) -> None:
            one = [*measured['figures'], *measured['failed']][-1]
            bars.say(cells(one))
            bar.at(len(measured['figures']) + len(measured['failed']))
            save({'suite': suite.name, **measured})

        measured = measure(workloads, settings, say)
    _judge(measured)


def cells(figure: dict[str, Any]) -> str:
    """A figure, or what went wrong, in a line of the table."""
    marked = figure['variant'] + ('' if figure.get('counts', True) else ' (emulated)')
    rate = f'{figure["images_per_second"]:.2f}/s' if 'error' not in figure else figure['error']
    return _line(figure['steps'][0], marked, str(figure['batch']), rate)


def _line(*words: str) -> str:
    *first, last = words
    return '  '.join([*(w.ljust(n) for w, n in zip(first, _WIDTHS, strict=True)), last])


def _judge(measured: dict[str, Any]) -> None:
    if measured['environment']['shared_with_other_work']:
        print('the machine had other work: not reliable')
    failed = measured['failed']
    if failed:
        number = len(failed) + len(measured['figures'])
        raise RunError(
            f'{len(failed)} of {number} workloads could not be measured; the first, '
            f'{failed[0]["steps"][0]}: {failed[0]["error"]}'
        )
