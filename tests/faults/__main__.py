"""``python -m tests.faults``: the full series, with figures as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import g2sd_mm
from g2sd_mm.reproduce.environment import describe_environment

from .campaign import Record
from .series import full, summary
from .tasks import data_in, import_libraries, quick_folder


def main() -> None:
    """Run the series and write the file."""
    p = argparse.ArgumentParser(prog='python -m tests.faults', description=__doc__)
    p.add_argument('--out', default='docs/results/faults.json', help='file that is written')
    p.add_argument('--seed', type=int, default=0, help='of the moments')
    args = p.parse_args()
    g2sd_mm.register_all()
    import_libraries()
    began, records = time.perf_counter(), []
    with quick_folder() as folder, data_in(folder):
        for record in full(folder, args.seed):
            records.append(record)
            print(json.dumps(record), flush=True)
    content = {
        'command': ' '.join(['python -m tests.faults', *sys.argv[1:]]),
        'seed': args.seed,
        'seconds': round(time.perf_counter() - began),
        'environment': describe_environment(),
        'summary': summary(records),
        'records': [_without(record, folder) for record in records],
    }
    Path(args.out).write_text(json.dumps(content, indent=1) + '\n')
    sys.exit(not all(record['ok'] for record in records))


def _without(record: Record, folder: Path) -> Record:
    """Without the name of the temporary folder."""
    return {k: v.replace(f'{folder}/', '') if k == 'line' else v for k, v in record.items()}


if __name__ == '__main__':
    main()
