"""``g2sd config``: print a config, as it is written or as it will run."""

from __future__ import annotations

import argparse
from typing import Any

from .exit_codes import run_command
from .options import add_options, command_parser

EXAMPLES = """examples:
  python tools/config.py configs/shapes/g2sd_vits_cls.py
  python tools/config.py configs/shapes/g2sd_vits_cls.py --prepared
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``config``."""
    p = command_parser(
        'Print a config with its bases and options merged.',
        EXAMPLES,
    )
    p.add_argument('config', help='config file')
    p.add_argument(
        '--prepared',
        action='store_true',
        help='with everything that training adds before the first step: hooks, checks, '
        'loops, folders; the data and weights that the config names have to be there',
    )
    p.add_argument(
        '--runs', default='work_dirs', metavar='DIR', help='folder of the runs (work_dirs)'
    )
    add_options(p)
    return p


def _run(config: str, prepared: bool, runs: str, options: dict[str, Any]) -> None:
    import g2sd_mm

    from ..config.load import load_config

    if prepared:
        from ..runs.prepare import prepare_training

        cfg = g2sd_mm.distill_config(prepare_training(config, options, runs=runs))
    else:
        g2sd_mm.register_all()
        cfg = load_config(config, options, runs)
    print(cfg.pretty_text)


def main() -> None:
    """Entry point of ``tools/config.py``."""
    run_command(_run, parser().parse_args())
