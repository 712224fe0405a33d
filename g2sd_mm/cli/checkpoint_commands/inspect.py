"""``checkpoint.py inspect FILE``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...checkpoints import Weights
    from ...checkpoints.facts import Facts
    from ...checkpoints.vision.teaching import Teaching

EXAMPLES = """examples:
  python tools/checkpoint.py inspect mae_pretrain_vit_base.pth
  python tools/checkpoint.py inspect work_dirs/g2sd_vits_cls/*.pth --names
"""


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Options of the sub-command."""
    p.add_argument('files', nargs='+', metavar='FILE', help='weights file, index or folder')
    p.add_argument('--names', action='store_true', help='also list every tensor')


def run(args: argparse.Namespace) -> None:
    """Print what every file is.

    Raises:
        CheckpointError: for one from which no network here can learn, with the reason.
    """
    from ...checkpoints import CheckpointError, read_weights
    from ...checkpoints.facts import facts_of
    from ...checkpoints.vision import unsuitable
    from ...text import as_called, printable

    for file in args.files:
        weights = read_weights(file, mmap=True)
        if reason := unsuitable(weights.state, weights.config):
            raise CheckpointError(f'{file}: {reason}')
        facts = facts_of(weights)
        print(as_called('\n'.join(report(facts, file, teaching(weights, facts, file)))))
        if args.names:
            for name, tensor in weights.state.items():
                dtype = str(tensor.dtype).removeprefix('torch.')
                print(printable(f'  {name}  {list(tensor.shape)}  {dtype}'))


def teaching(weights: Weights, facts: Facts, file: str) -> Teaching | None:
    """How a file's encoder teaches stage 1 by its features; None if that is no question."""
    if facts.encoder is None or facts.broken:
        return None
    from ...checkpoints.vision.teaching import how_to_teach

    return how_to_teach(weights, facts.encoder, file)


def report(facts: Facts, file: str, teaching: Teaching | None = None) -> list[str]:
    """The lines that tell what a file is.

    Args:
        facts: of the file.
        file: its path as the user wrote it, for the commands.
        teaching: how its encoder teaches, if it has one.
    """
    from ...checkpoints.uses import uses_of
    from ...text import printable

    dtypes = ', '.join(f'{dtype} ({n})' for dtype, n in facts.dtypes.items())
    lines = [
        f'{file}: {facts.title}',
        f'  tensors   {facts.tensors}, {facts.elements / 1e6:.2f} M values, '
        f'{facts.bytes / 2**20:.1f} MiB, {dtypes}',
    ]
    if facts.family:
        lines.append(f'  network   {facts.family.value}')
    if facts.size:
        size = ', '.join(f'{name} {value}' for name, value in facts.size.items())
        lines.append(f'  size      {size}')
    lines += [f'  note      {note}' for note in facts.notes]
    uses = uses_of(facts, file)
    why = 'its weights are broken' if facts.broken else 'no config is made for it'
    if teaching is not None:
        lines += [f'  note      {teaching.note}'] if teaching.note else []
        taught = {purpose for purpose, _ in uses}  # a whole MAE does, as the paper's teacher
        if teaching.command and 'teacher of stage 1' not in taught:
            uses.append(('teacher of stage 1', teaching.command))
        why = teaching.reason
    lines += [f'  use       {purpose}: {command}' for purpose, command in uses]
    if not uses:
        lines.append(f'  use       none here: {why}')
    return [printable(line) for line in lines]
