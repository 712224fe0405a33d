"""Command-line options that several commands share. Imports nothing heavy."""

from __future__ import annotations

import argparse
import ast
import os
from typing import Any

_OPENING = tuple('[({\'"')


def add_options(p: argparse.ArgumentParser) -> None:
    """``--cfg-options``, as OpenMMLab users know it."""
    p.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        help='override config entries, e.g. train_cfg.max_epochs=5 optim_wrapper.optimizer.lr=1e-3',
    )


def add_common_options(p: argparse.ArgumentParser) -> None:
    """``--cfg-options`` and ``--launcher``."""
    add_options(p)
    p.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='launcher of the processes (none: a single process)',
    )
    p.add_argument('--local-rank', '--local_rank', type=int, default=0, help=argparse.SUPPRESS)


def parse_options(pairs: list[str] | None) -> dict[str, Any]:
    """``KEY=VALUE`` pairs: Python's lists, tuples, dicts, quoted strings, or what mmengine reads.

    (mmengine takes bare words between commas, but leaves out every space and knows no dict.)

    Raises:
        UserError: for a pair without ``=``.
    """
    from mmengine.config import DictAction

    from ..errors import UserError

    options = {}
    for pair in pairs or ():
        key, equals, value = pair.partition('=')
        if not equals:
            raise UserError(f'--cfg-options takes KEY=VALUE, got {pair!r}')
        try:
            plain = ast.literal_eval(value) if value[:1] in _OPENING else None
        except (ValueError, SyntaxError):
            plain = None
        options[key] = DictAction._parse_iterable(value) if plain is None else plain
    return options


def export_local_rank(args: argparse.Namespace) -> None:
    """Launchers that pass ``--local-rank`` instead of setting the variable."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
