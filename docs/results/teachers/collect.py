"""What ``run.sh`` left, as the files of this folder: ``python docs/results/teachers/collect.py``.

Works on ``work_dirs/teachers/seed<N>`` of the working folder. Rows of other seeds stay.
"""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from g2sd_mm.bench.suites.measure import agreed_metrics

HERE = Path(__file__).resolve().parent
RUNS = Path('work_dirs/teachers')
#: Row -> the runs that make its student, the last one being what is judged.
ROWS = {
    'scratch': ('vits_scratch_cls',),
    'mae_student': ('vits_mae', 'vits_mae_cls'),
    'g2sd_nosd': ('vitb_mae', 'g2sd_vits_generic', 'g2sd_vits_cls_nosd'),
    'g2sd_nosd_cross': ('vitb_mae', 'g2sd_vits_generic_cross', 'g2sd_vits_cls_nosd_cross'),
    'dinov2_nosd': ('g2sd_vits_generic_dinov2', 'dinov2_nosd'),
    'dinov2_unmasked_nosd': ('g2sd_vits_generic_dinov2_unmasked', 'dinov2_unmasked_nosd'),
}
_SHOWN = re.compile(r'(Epoch\((?:train|val)\).*)')


def main() -> None:
    """Rows, logs of losses, and ``results.json``."""
    for folder in sorted(RUNS.glob('seed*')):
        for method, runs in ROWS.items():
            row = _row(method, int(folder.name.removeprefix('seed')), folder, runs)
            if row:
                place = HERE / 'rows' / f'{folder.name}_{method}.json'
                place.write_text(json.dumps(row, indent=1) + '\n')
                for run in runs:
                    _keep_log(folder / run, HERE / 'rows' / f'{folder.name}_{run}.log')
    found: dict[str, dict[str, float]] = {}
    for place in sorted((HERE / 'rows').glob('seed*.json')):
        row = json.loads(place.read_text())
        top1 = round(row['metrics']['top1'], 2)
        found.setdefault(row['method'], {})[str(row['seed'])] = top1
    results = {
        'data': '20 classes of Tiny ImageNet, 8,000 + 1,000 images',
        'top1': {m: {'seeds': found[m], **_summary(found[m])} for m in ROWS if m in found},
        'paired': {
            f'{ahead} - {behind}': {'differences': differences, **_summary(differences)}
            for behind, ahead in combinations([m for m in ROWS if m in found], 2)
            if (differences := _differences(found[ahead], found[behind]))
        },
    }
    (HERE / 'results.json').write_text(json.dumps(results, indent=1) + '\n')


def _row(method: str, seed: int, folder: Path, runs: tuple[str, ...]) -> dict[str, Any] | None:
    records = {}
    for run in runs:
        sidecar = folder / run / 'weights.json'
        if not sidecar.is_file():
            return None
        records[run] = json.loads(sidecar.read_text())
    last = records[runs[-1]]
    made = {
        run: {'updates': record['origin']['iter'], 'commit': record['origin']['commit']}
        for run, record in records.items()
    }
    return {
        'method': method,
        'seed': seed,
        'metrics': agreed_metrics(last['origin']['metrics']),
        **made[runs[-1]],
        'sha256': last['weights']['sha256'],
        'runs': made,
    }


def _keep_log(run: Path, target: Path) -> None:
    """The lines of losses and metrics, the parts of a resumed run one behind the other."""
    lines = [
        found[1].rstrip()
        for log in sorted(run.glob('*/*.log'))
        for found in map(_SHOWN.search, log.read_text(errors='replace').splitlines())
        if found
    ]
    if lines:
        target.write_text('\n'.join(lines) + '\n')


def _differences(ahead: dict[str, float], behind: dict[str, float]) -> dict[str, float]:
    return {seed: round(ahead[seed] - behind[seed], 2) for seed in ahead if seed in behind}


def _summary(values: dict[str, float]) -> dict[str, float | None]:
    numbers = list(values.values())
    error = round(stdev(numbers) / len(numbers) ** 0.5, 2) if len(numbers) > 1 else None
    return {'mean': round(mean(numbers), 2), 'standard_error': error}


if __name__ == '__main__':
    main()
