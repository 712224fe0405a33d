"""``g2sd config``: print a config, as it is written or as it will run."""

from __future__ import annotations

import argparse

from .exit_codes import run_command
from .options import add_options, command_parser, parse_options

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


def main() -> None:
    """Entry point of ``tools/config.py``."""
    args = parser().parse_args()

    def command() -> None:
        import g2sd_mm

        from ..config.load import load_config

        options = parse_options(args.cfg_options)
        if args.prepared:
            from ..runs.prepare import prepare_training

            cfg = g2sd_mm.distill_config(prepare_training(args.config, options, runs=args.runs))
        else:
            g2sd_mm.register_all()
            cfg = load_config(args.config, options, args.runs)
        print(cfg.pretty_text)

    run_command(command)
