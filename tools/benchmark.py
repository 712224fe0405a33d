"""Measure training speed and memory; see ``--help``. Needs a checkout of the project."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

if __name__ == '__main__':
    if not (ROOT / 'benchmarks' / 'speed').is_dir():
        print(
            'error: the benchmarks are not installed with the package: run '
            'python tools/benchmark.py in a checkout of the project',
            file=sys.stderr,
        )
        sys.exit(2)
    sys.path.insert(0, str(ROOT))
    if any(word == '--plan' or word.startswith('--plan=') for word in sys.argv[1:]):
        from benchmarks.speed.plan import main as plan  # needs Python alone

        sys.exit(plan())
    from benchmarks.speed.command import main

    main()
