"""``tools/serve.py``: a web page on which a student is tried on pictures."""

from __future__ import annotations

import argparse

from .exit_codes import run_command
from .options import command_parser

EXAMPLES = """examples:
  python tools/serve.py work_dirs/g2sd_vits_cls
  python tools/serve.py work_dirs/g2sd_vits_cls --teacher work_dirs/vitb_cls \\
      --twin work_dirs/vits_cls --port 8080

It needs: pip install "g2sd_mm[serve]". End it with Ctrl-C.
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``serve``."""
    p = command_parser(
        'Serve a web page on this machine: drop a picture, and see what the student '
        'makes of it, beside its teacher and its plain twin if they are given. Nothing is kept.',
        EXAMPLES,
    )
    p.add_argument('weights', help="weights file of the student, or a run's folder")
    p.add_argument('--teacher', metavar='WEIGHTS', help='the teacher, to the left')
    p.add_argument(
        '--twin', metavar='WEIGHTS', help='the student fine-tuned without teacher, to the right'
    )
    p.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen at (127.0.0.1: this machine alone; 0.0.0.0: everybody)',
    )
    p.add_argument('--port', type=int, default=8000, help='port (8000; 0: any that is free)')
    p.add_argument('--max-mb', type=float, default=20, help='largest file in MB (20)')
    p.add_argument('--threshold', type=float, default=0.3, help='minimum score of a box (0.3)')
    p.add_argument('--device', help='cpu, cuda, ... (cuda if available)')
    return p


def _run(
    weights: str,
    teacher: str | None,
    twin: str | None,
    host: str,
    port: int,
    max_mb: float,
    threshold: float,
    device: str | None,
) -> None:
    from ..errors import UserError
    from ..runs.predict import student_for
    from ..runs.serve import serve

    if not 0 < max_mb < 2**20:
        raise UserError(f'--max-mb {max_mb:g}: give how many MB a file may have, as in 20')
    given = {'teacher': teacher, 'student': weights, 'twin': twin}
    networks = {name: student_for(file, device=device) for name, file in given.items() if file}
    serve(networks, host, port, int(max_mb * 2**20), threshold)


def main() -> None:
    """Entry point of ``tools/serve.py``."""
    run_command(_run, parser().parse_args())
