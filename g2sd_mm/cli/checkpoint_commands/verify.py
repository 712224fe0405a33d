"""``checkpoint.py verify CONFIG CHECKPOINT``."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterable

from ...config.options import read_options
from ..options import add_options

EXAMPLES = """examples:
  python tools/checkpoint.py verify configs/imagenet/g2sd_vits_generic.py mae_pretrain_vit_base.pth
  python tools/checkpoint.py verify configs/imagenet/vits_deploy.py weights.pth --role weights
"""
#: What a file may be to a config.
ROLES = {
    'weights': 'weights to evaluate (tools/test.py)',
    'load_from': 'start of a run (load_from)',
    'init_cfg': "the backbone's encoder (model.backbone.init_cfg.checkpoint)",
    'teacher': 'teacher',
}


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Options of the sub-command."""
    p.add_argument('config', help='config file')
    p.add_argument('checkpoint', help='weights file, index or folder')
    p.add_argument(
        '--role', choices=ROLES, help='check only this role; exit code 2 if the file does not fit'
    )
    add_options(p)


def _kind(role: str) -> str:
    """Of several teachers each is a role: ``teacher NAME``."""
    return role.partition(' ')[0]


def _title(role: str) -> str:
    return ROLES.get(role, role)


def run(args: argparse.Namespace) -> None:
    """Print what the file can be to the config, and what would stay random."""
    import g2sd_mm

    from ...checkpoints import read_weights
    from ...checkpoints.facts import facts_of
    from ...errors import UserError
    from ...runs.verify import verify
    from ...text import printable

    g2sd_mm.register_all()
    verdicts = verify(args.config, args.checkpoint, read_options(args.cfg_options))
    if args.role:
        verdicts = [verdict for verdict in verdicts if _kind(verdict.role) == args.role]
        if not verdicts:
            raise UserError(f'{args.config} has no place for a file as {ROLES[args.role]}')
        if all(verdict.problem for verdict in verdicts):  # of several teachers one is enough
            raise UserError(verdicts[0].problem)
    for note in facts_of(read_weights(args.checkpoint, mmap=True)).notes:
        print(printable(f'note  {note}'))
    for verdict in verdicts:
        print(f'{"no  " if verdict.problem else "yes "}  {_title(verdict.role)}')
        if verdict.problem:
            print(printable(f'      {verdict.problem}'))
        elif verdict.random:
            kept = ', '.join(grouped(verdict.random))
            print(printable(f'      keeps its initial values: {kept}'))
    if all(verdict.problem for verdict in verdicts):
        raise UserError(f'{args.checkpoint} fits {args.config} in no role')


def grouped(names: Iterable[str]) -> list[str]:
    """Names with their numbers as ``*``, and how many there are of each."""
    counts = Counter(re.sub(r'\.\d+\.', '.*.', name) for name in names)
    return [f'{name} ({number})' if number > 1 else name for name, number in counts.items()]
