"""Command-line options that several commands share. Imports nothing heavy."""

from __future__ import annotations

import argparse
import os
from typing import Any


def add_options(p: argparse.ArgumentParser) -> None:
    """``--cfg-options``, as OpenMMLab users know it."""
    p.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        help='override config entries, e.g. train_cfg.max_epochs=5 optim_wrapper.optimizer.lr=1e-3 '
        '"test_dataloader.dataset.data_root=my images/val"',
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
    """Dotted key -> value, as :func:`~g2sd_mm.config.options.read_options` reads the pairs.

    Raises:
        UserError: for a pair that cannot be read; the message says how to write it.
    """
    from ..config.options import read_options

    return read_options(pairs or ())


def export_local_rank(args: argparse.Namespace) -> None:
    """Launchers that pass ``--local-rank`` instead of setting the variable."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
