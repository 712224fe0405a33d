"""Run all cases and write what came of them."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from g2sd_mm.bench.results import describe_environment

from .case import Case
from .sandbox import Outcome, run_cases
from .suite import all_cases, prepare, quick_cases


def main() -> None:
    """Entry point of ``python -m benchmarks.malformed``."""
    p = argparse.ArgumentParser(prog='python -m benchmarks.malformed', description=__doc__)
    p.add_argument('--quick', action='store_true', help='some of each kind')
    p.add_argument('--kind', help='of this kind only')
    p.add_argument('--match', default='', help='whose name has this text only')
    p.add_argument('--out', metavar='FILE', help='write the counts to this JSON file')
    args = p.parse_args()
    prepare()
    started, environment = time.perf_counter(), describe_environment()
    cases = quick_cases() if args.quick else all_cases()
    cases = [c for c in cases if args.kind in (None, c.kind) and args.match in c.name]
    outcomes = run_cases(cases)
    for case, outcome in outcomes:
        if not outcome.good:
            print(f'{outcome.verdict}: {case}\n  {outcome.said}')
    counts = count(outcomes)
    print(json.dumps(counts, indent=2))
    if args.out:
        content = {
            'command': shlex.join(['python', '-m', 'benchmarks.malformed', *sys.argv[1:]]),
            'seconds': round(time.perf_counter() - started),
            'environment': environment,
            **counts,
        }
        Path(args.out).write_text(json.dumps(content, indent=2) + '\n')
    sys.exit(int(counts['bad'] > 0))


def count(outcomes: list[tuple[Case, Outcome]]) -> dict[str, Any]:
    """How many cases of each kind ended in which way; ``bad`` ones are listed."""
    kinds: dict[str, Counter] = defaultdict(Counter)
    for case, outcome in outcomes:
        kinds[case.kind][outcome.verdict] += 1
    bad = [(str(case), outcome.verdict) for case, outcome in outcomes if not outcome.good]
    return {
        'cases': len(outcomes),
        'bad': len(bad),
        'kinds': {kind: dict(verdicts) for kind, verdicts in kinds.items()},
        'bad_cases': bad,
    }


if __name__ == '__main__':
    main()
