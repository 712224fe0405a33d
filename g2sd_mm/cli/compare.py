"""``tools/compare.py``: runs side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from .exit_codes import run_command
from .options import command_parser

EXAMPLES = """examples:
  python tools/compare.py work_dirs/g2sd_vits_cls work_dirs/g2sd_vits_cls_nosd
  python tools/compare.py work_dirs/demo/seed0/*cls --out compared.html
  python tools/compare.py work_dirs/demo/seed*/g2sd_vits_cls --out curves.svg
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``compare``."""
    p = command_parser(
        'Figures of runs side by side, and the entries in which their configs differ. '
        'A run is the folder that training wrote, by hand or for a suite.',
        EXAMPLES,
    )
    p.add_argument(
        'runs', nargs='+', metavar='RUN', help="a run's folder; the first is compared with"
    )
    p.add_argument(
        '--out', metavar='FILE', help='a page with curves (.html), or the curves alone (.svg)'
    )
    return p


def compare(runs: list[str], out: str | None = None) -> None:
    """Compare runs; the function behind the command, which prints the tables.

    Raises:
        UserError: for a folder that is no run, or an ending that is not known.
    """
    from ..bench.compare import curves, differences, figures, read_runs, report, text_table
    from ..errors import UserError
    from ..text import printable
    from ..whole_files import write_page

    ending = Path(out).suffix if out else '.html'
    if ending not in ('.html', '.svg'):
        raise UserError(f'--out {out}: a page ends in .html, curves alone in .svg')
    found = read_runs(runs)
    header = ['', *(run.name for run in found)]
    print(text_table(header, figures(found)))
    apart = differences(found)
    print(f'\nconfigs differ in {len(apart)} entries')
    if apart:
        print(text_table(header, apart))
    for run in found:
        for what in run.missing:
            print(f'note: {run.name} has no {what}')
    if out:
        path = Path(out)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_page(path, report(found) if ending == '.html' else curves(found) + '\n')
        print(printable(f'{out} written'))


def main() -> None:
    """Entry point of ``tools/compare.py``."""
    run_command(compare, parser().parse_args())
