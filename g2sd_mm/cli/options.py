"""Command-line options that several commands share. Imports nothing heavy."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ..text import as_called

if TYPE_CHECKING:
    from ..data_layouts.choices import Choices


def command_parser(description: str, examples: str) -> argparse.ArgumentParser:
    """The parser of a command, without its arguments.

    Usage and examples name the command as the person called it: by its script, or ``g2sd NAME``.
    """
    return argparse.ArgumentParser(
        description=description,
        epilog=as_called(examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_options(p: argparse.ArgumentParser) -> None:
    """``--cfg-options``, as OpenMMLab users know it."""
    p.add_argument(
        '--cfg-options',
        action='extend',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='override config entries, e.g. train_cfg.max_epochs=5 optim_wrapper.optimizer.lr=1e-3 '
        '"test_dataloader.dataset.data_root=my images/val"',
    )


def add_data_options(p: argparse._ActionsContainer) -> None:
    """``--val-share``, ``--split-seed`` and ``--read-as``: what a folder of data leaves open."""
    p.add_argument(
        '--val-share', type=float, metavar='SHARE',
        help='where there are no validation images: the share of the training images to hold out, '
        'of each class, such as 0.2',
    )  # fmt: skip
    p.add_argument('--split-seed', type=int, default=0, help='of which images are held out (0)')
    p.add_argument(
        '--read-as', action='extend', nargs='+', default=[], metavar='QUESTION=ANSWER',
        help='how to read a folder that can be read in two ways, such as format=yolo; the message '
        'that asks names the answers',
    )  # fmt: skip


def take_choices(args: dict[str, Any]) -> Choices:
    """The choices of those options, taken out of a command's arguments.

    Raises:
        UserError: for a share, or a question, that there is not.
    """
    from ..data_layouts.choices import Choices, read_answers

    answers = read_answers(args.pop('read_as'))
    return Choices(args.pop('val_share'), args.pop('split_seed'), answers)


def add_run_options(p: argparse.ArgumentParser) -> None:
    """What training and testing have in common: data of one's own, config, launcher."""
    p.add_argument(
        '--data-root', metavar='DIR', help='your own data, of any layout that check_data reads, '
        "in the place of the config's",
    )  # fmt: skip
    add_data_options(p)
    p.add_argument(
        '--verbose', action='store_true', help='all of the log on the terminal, not its gist'
    )
    add_options(p)
    p.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='launcher of the processes (none: a single process)',
    )
    p.add_argument('--local-rank', '--local_rank', type=int, default=0, help=argparse.SUPPRESS)


def image_size(text: str) -> tuple[int, int]:
    """``224`` or ``224x448``: height and width."""
    sides = text.split('x')
    if len(sides) > 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise argparse.ArgumentTypeError(f'{text!r} is neither 224 nor 224x448')
    return int(sides[0]), int(sides[-1])
