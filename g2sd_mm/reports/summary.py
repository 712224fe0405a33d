"""Mean and spread over seeds, retention of the teacher, and what the differences are worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

#: The figure that a task is judged by.
HEADLINE = {'cls': 'top1', 'det': 'bbox_mAP', 'seg': 'mIoU'}

# two-sided 95 % quantiles of Student's t by degrees of freedom; about 2 from ten seeds on
_T95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31}


@dataclass(frozen=True)
class Line:
    """One method of one task over all seeds; ``values`` are the headline metric of ``seeds``.

    Times are the shortest of the seeds': what else the machine did is not the method's.
    """

    task: str
    method: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    retained: float | None
    params_m: float | None
    gflops: float | None
    own_seconds: float | None
    total_seconds: float | None
    errors: tuple[str, ...]

    @property
    def mean(self) -> float | None:
        """Mean over seeds."""
        return sum(self.values) / len(self.values) if self.values else None

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over seeds; None for fewer than two."""
        if len(self.values) < 2:
            return None
        mean = self.mean
        return math.sqrt(sum((v - mean) ** 2 for v in self.values) / (len(self.values) - 1))


def summarise(rows: Sequence[dict[str, Any]]) -> list[Line]:
    """One :class:`Line` for each task and method, in the order of first appearance."""
    keys = list(dict.fromkeys((row['task'], row['method']) for row in rows))
    means: dict[tuple[str, str], float] = {}
    lines = []
    for task, method in keys:
        group = [r for r in rows if (r['task'], r['method']) == (task, method)]
        good = sorted((r for r in group if 'error' not in r), key=lambda r: r['seed'])
        values = tuple(r['metrics'][HEADLINE[task]] for r in good)
        if values:
            means[task, method] = sum(values) / len(values)
        teacher = means.get((task, 'teacher'))
        lines.append(
            Line(
                task=task,
                method=method,
                seeds=tuple(r['seed'] for r in good),
                values=values,
                retained=100 * means[task, method] / teacher if values and teacher else None,
                params_m=good[0]['params_m'] if good else None,
                gflops=good[0]['gflops'] if good else None,
                own_seconds=min((r['train_seconds'] for r in good), default=None),
                total_seconds=min((r['total_seconds'] for r in good), default=None),
                errors=tuple(r['error'] for r in group if 'error' in r),
            )
        )
    return lines


def verdicts(lines: Sequence[Line]) -> list[str]:
    """Plain sentences: the order that came out, and whether G2SD differs from its plain twin."""
    sentences = []
    for task in dict.fromkeys(line.task for line in lines):
        own = {line.method: line for line in lines if line.task == task and line.values}
        order = sorted(own.values(), key=lambda line: -line.mean)
        name = HEADLINE[task]
        sentences.append(
            f'{task} ({name}): ' + ' > '.join(f'{line.method} {line.mean:.2f}' for line in order)
        )
        for a, b in (('g2sd_nosd', 'scratch'), ('g2sd', 'g2sd_nosd')):
            if a in own and b in own and set(own[a].seeds) & set(own[b].seeds):
                sentences.append(f'{task}: {_compare(own[a], own[b])}')
    return sentences


def paired_differences(a: Line, b: Line) -> list[float]:
    """``a - b`` for each seed that both have."""
    other = dict(zip(b.seeds, b.values, strict=True))
    return [x - other[seed] for seed, x in zip(a.seeds, a.values, strict=True) if seed in other]


def paired_difference(a: Line, b: Line) -> tuple[float, float | None]:
    """Mean of ``a - b`` over common seeds and its standard error (None for fewer than two)."""
    differences = paired_differences(a, b)
    mean = sum(differences) / len(differences)
    if len(differences) < 2:
        return mean, None
    variance = sum((d - mean) ** 2 for d in differences) / (len(differences) - 1)
    return mean, math.sqrt(variance / len(differences))


def _compare(a: Line, b: Line) -> str:
    mean, error = paired_difference(a, b)
    if error is None:
        return (
            f'{a.method} - {b.method} = {mean:+.2f}, from one seed: '
            'more seeds (--seeds 0 1 2) tell whether it holds'
        )
    seeds = len(paired_differences(a, b))
    certain = abs(mean) > _T95.get(seeds - 1, 2.0) * error
    apart = 'stand apart' if certain else 'cannot be told apart at this size'
    return (
        f'{a.method} - {b.method} = {mean:+.2f} +- {error:.2f} '
        f'(standard error over {seeds} seeds, paired): they {apart} (95 %)'
    )
