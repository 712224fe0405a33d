"""``tools/checkpoint.py``: what a weights file is, and how to get it where it is needed."""

from __future__ import annotations

import argparse
import importlib

from ..text import as_called
from .exit_codes import run_command
from .options import command_parser

EXAMPLES = """examples:
  python tools/checkpoint.py inspect mae_pretrain_vit_base.pth
  python tools/checkpoint.py convert work_dirs/g2sd_vits_cls/weights.pth student/ --to huggingface
  python tools/checkpoint.py extract work_dirs/g2sd_vits_cls/epoch_200.pth --student
  python tools/checkpoint.py verify configs/imagenet/g2sd_vits_generic.py mae_pretrain_vit_base.pth
"""
#: Sub-command -> what it does. Each is a module of ``checkpoint_commands`` with ``EXAMPLES``,
#: ``add_arguments`` and ``run``, and imports nothing heavy before it runs.
COMMANDS = {
    'inspect': 'say what a weights file is and what it can be used for',
    'convert': 'write a weights file in the layout of another library',
    'extract': 'take the student out of a training checkpoint, with a JSON that describes it',
    'verify': 'check whether a file fits a config and list weights left at random initialisation',
}


def parser() -> argparse.ArgumentParser:
    """The command line of ``checkpoint``."""
    p = command_parser(
        'Inspect, convert and verify weights files. No code in a file is ever run.',
        EXAMPLES,
    )
    commands = p.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for name, text in COMMANDS.items():
        module = importlib.import_module(f'.checkpoint_commands.{name}', __package__)
        command = commands.add_parser(
            name,
            help=text,
            description=f'{text[0].upper()}{text[1:]}.',
            epilog=as_called(module.EXAMPLES),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return p


def main() -> None:
    """Entry point of ``tools/checkpoint.py``."""
    args = parser().parse_args()
    run_command(lambda: args.run(args))
