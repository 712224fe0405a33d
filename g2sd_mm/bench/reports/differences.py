"""Whether the paper's order holds: paired differences of methods over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .. import methods
from .summary import Line, paired_difference, paired_differences, t_quantile


@dataclass(frozen=True)
class Difference:
    """``ahead - behind`` of one task, paired by seed.

    mean: over the seeds that both have.
    error: standard error of the mean; None for one seed.
    seeds: how many.
    """

    task: str
    ahead: str
    behind: str
    mean: float
    error: float | None
    seeds: int

    @property
    def half_width(self) -> float | None:
        """Half of the 95 % interval (Student's t); None for one seed."""
        return None if self.error is None else t_quantile(self.seeds - 1) * self.error

    @property
    def verdict(self) -> str:
        """Whether the claim holds in these runs, and how surely."""
        word = 'holds' if self.mean > 0 else 'does not hold'
        if self.error is None:
            return f'{word} in one seed: more seeds tell whether that is chance'
        if abs(self.mean) <= self.error:
            return f'{word} on average, within one standard error: undecided'
        if self.half_width is not None and abs(self.mean) <= self.half_width:
            return f'{word}; more than a standard error, 95 % interval includes zero'
        return f'{word}; 95 % interval excludes zero'


def differences(lines: Sequence[Line], table: str = 'main') -> list[Difference]:
    """Every claim that a table's rows speak to, by task, setting and student.

    Of a row of one's own: that it comes out ahead of G2SD, and of G2SD without stage 2.
    """
    found = []
    rows = [line for line in lines if line.table == table and line.values]
    for task, setting in dict.fromkeys((line.task, line.setting) for line in rows):
        own = [line for line in rows if (line.task, line.setting) == (task, setting)]
        teacher = next((line for line in own if line.method == 'teacher'), None)
        for student in dict.fromkeys(line.student for line in own if line.method != 'teacher'):
            by_method = {line.method: line for line in own if line.student == student}
            if teacher:
                by_method['teacher'] = teacher
            for ahead, behind in methods.claims(by_method):
                a, b = by_method.get(ahead), by_method.get(behind)
                if a and b and paired_differences(a, b):
                    mean, error = paired_difference(a, b)
                    pairs = len(paired_differences(a, b))
                    found.append(Difference(task, a.name, b.name, mean, error, pairs))
    return found


def cells(difference: Difference) -> tuple[str, ...]:
    """A table row: task, claim, difference, standard error, seeds, verdict."""
    d = difference
    return (
        d.task,
        f'{d.ahead} > {d.behind}',
        f'{d.mean:+.2f}',
        f'± {d.error:.2f}' if d.error is not None else '',
        str(d.seeds),
        d.verdict,
    )


HEADER = ('task', 'claim', 'difference', 'standard error', 'seeds', 'verdict')
