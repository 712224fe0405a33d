"""``python -m benchmarks.faults``: the full series, or parts of it, with figures as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import g2sd_mm
from g2sd_mm.bench.results import describe_environment

from .campaign import Record
from .series import PARTS, part, summary
from .tasks import data_in, import_libraries, quick_folder


def main() -> None:
    """Run the parts, and put them into the file in the place of what it had of them."""
    p = argparse.ArgumentParser(prog='python -m benchmarks.faults', description=__doc__)
    p.add_argument('--out', default='docs/results/faults.json', help='file that is written')
    p.add_argument('--seed', type=int, default=0, help='of the moments')
    p.add_argument('--parts', nargs='+', choices=PARTS, default=list(PARTS), help='all by default')
    p.add_argument('--short', action='store_true', help='a few random ends of each part only')
    args = p.parse_args()
    g2sd_mm.register_all()
    import_libraries()
    path, parts = Path(args.out), {}
    if path.is_file():
        parts = json.loads(path.read_text())['parts']
    for name in args.parts:
        began, records = time.perf_counter(), []
        with quick_folder() as folder, data_in(folder):
            for record in part(folder, name, args.seed, args.short):
                records.append(_without(record, folder))
                print(json.dumps(records[-1]), flush=True)
        parts[name] = {
            'command': f'python -m benchmarks.faults --parts {name} --seed {args.seed}'
            + (' --short' if args.short else ''),
            'seconds': round(time.perf_counter() - began),
            'environment': describe_environment(),
            'records': records,
        }
        ordered = {name: parts[name] for name in PARTS if name in parts}
        everything = [record for known in ordered.values() for record in known['records']]
        content = {'summary': summary(everything), 'parts': ordered}
        path.write_text(json.dumps(content, indent=1) + '\n')
    sys.exit(not all(record['ok'] for name in args.parts for record in parts[name]['records']))


def _without(record: Record, folder: Path) -> Record:
    """Without the name of the temporary folder."""
    return {k: v.replace(f'{folder}/', '') if k == 'line' else v for k, v in record.items()}


if __name__ == '__main__':
    main()
