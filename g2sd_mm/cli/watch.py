"""``tools/watch.py``: a live page on runs, and the report of runs that were started by hand."""

from __future__ import annotations

import argparse
from pathlib import Path

from .exit_codes import run_command
from .options import command_parser

EXAMPLES = """examples:
  python tools/watch.py work_dirs
  python tools/watch.py work_dirs/distill_my_images --port 8001
  python tools/watch.py work_dirs/vitb_cls --out page.html
  python tools/watch.py work_dirs --report report.html

The page is served on this machine alone and looks again every few seconds. With --out it is
written once, and with --report the report of the finished runs, as suites have it.
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``watch``."""
    p = command_parser(
        'Show runs while they train: curves, time left, speed, memory, predictions.',
        EXAMPLES,
    )
    p.add_argument('folder', type=Path, metavar='DIR', help='a work dir, or a folder of work dirs')
    p.add_argument('--port', type=int, default=8000, help='of the page (8000); 0 for any')
    p.add_argument('--every', type=int, default=5, metavar='SECONDS', help='between two looks (5)')
    p.add_argument('--out', metavar='FILE', help='write the page to a file and end')
    p.add_argument('--report', metavar='FILE', help='write a report of the finished runs and end')
    return p


def _run(folder: Path, port: int, every: int, out: str | None, report: str | None) -> None:
    from ..bench.reports.by_hand import report_of_runs
    from ..bench.reports.live import live_page, serve
    from ..errors import UserError
    from ..text import printable
    from ..whole_files import write_page

    if not folder.is_dir():
        raise UserError(f'{folder} is no folder: give a work dir, or one that has some')
    if report:
        write_page(report, report_of_runs(folder))
    if out:
        write_page(out, live_page(folder, 0))
    for file in filter(None, (report, out)):
        print(printable(file))
    if report or out:
        return
    server = serve(folder, port, every)
    print(printable(f'http://127.0.0.1:{server.server_port} shows {folder}; Ctrl-C ends it'))
    with server:
        server.serve_forever()


def main() -> None:
    """Entry point of ``tools/watch.py``."""
    run_command(_run, parser().parse_args())
