"""Generate a Shapes set, or a picture of its samples, from the command line.

Examples::

    python -m g2sd_mm.datasets.shapes --root data/shapes --task cls --train 8000 --val 2000
    python -m g2sd_mm.datasets.shapes --root data/shapes --task det --train 2000 --val 500
    python -m g2sd_mm.datasets.shapes --task seg --sheet scenes.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from PIL import Image

from .scene import TASKS
from .store import contact_sheet, ensure_shapes


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m g2sd_mm.datasets.shapes', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--root', default='data/shapes', help='where sets are kept (%(default)s)')
    parser.add_argument('--task', choices=TASKS, default='cls', help='(%(default)s)')
    parser.add_argument('--train', type=int, default=8000, help='training images (%(default)s)')
    parser.add_argument('--val', type=int, default=2000, help='validation images (%(default)s)')
    parser.add_argument('--size', type=int, help='side in pixels (64 for cls, else 128)')
    parser.add_argument('--seed', type=int, default=0, help='(%(default)s)')
    parser.add_argument('--sheet', type=Path, metavar='PNG',
                        help='only draw a contact sheet to this file')
    args = parser.parse_args(arguments)
    try:
        if args.sheet:
            columns = 10 if args.task == 'cls' else 5
            sheet = contact_sheet(args.task, columns=columns, size=args.size, seed=args.seed)
            Image.fromarray(sheet).save(args.sheet)
        else:
            ensure_shapes(args.root, task=args.task, train=args.train, val=args.val,
                          size=args.size, seed=args.seed)
    except (ValueError, OSError, ImportError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
