"""Generate a Shapes set from the command line; ``tools/browse_data.py`` shows its samples.

Examples::

    python -m g2sd_mm.datasets.shapes --root data/shapes --task cls --train 8000 --val 2000
    python -m g2sd_mm.datasets.shapes --root data/shapes --task det --train 2000 --val 500
"""

from __future__ import annotations

import argparse
import sys

from .scene import TASKS
from .store import ensure_shapes


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
    args = parser.parse_args(arguments)
    try:
        ensure_shapes(args.root, task=args.task, train=args.train, val=args.val, size=args.size,
                      seed=args.seed)
    except (ValueError, OSError, ImportError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
