"""What a suite trains: steps (one config each), and the table rows that they end in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import UserError


@dataclass(frozen=True)
class Step:
    """One training run.

    config: path of the config; its stem names the run.
    needs: stems of the runs whose weights it loads.
    options: config entries that the suite changes.
    """

    config: str
    needs: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Config file name without folder and ending."""
        return self.config.rsplit('/', 1)[-1].removesuffix('.py')


@dataclass(frozen=True)
class Row:
    """One line of a results table: the metrics of its last step."""

    task: str
    method: str
    step: str


@dataclass(frozen=True)
class Suite:
    """Steps and rows under a name."""

    name: str
    steps: tuple[Step, ...]
    rows: tuple[Row, ...]

    def step(self, name: str) -> Step:
        """The step called ``name``."""
        return next(step for step in self.steps if step.name == name)

    def chain(self, name: str) -> list[str]:
        """A step and everything that it needs, prerequisites first, each once."""
        names: list[str] = []
        for need in self.step(name).needs:
            names += [n for n in self.chain(need) if n not in names]
        return [*names, name]

    def select(
        self, tasks: Sequence[str] | None = None, methods: Sequence[str] | None = None
    ) -> list[Row]:
        """The rows of the given tasks and methods (None: all), in the table's order.

        Raises:
            UserError: for a task or method that the suite does not have.
        """
        _check('--tasks', tasks, {row.task for row in self.rows}, self.name)
        _check('--rows', methods, {row.method for row in self.rows}, self.name)
        return [
            row
            for row in self.rows
            if (not tasks or row.task in tasks) and (not methods or row.method in methods)
        ]

    def steps_of(self, rows: Sequence[Row]) -> Iterator[Step]:
        """Every step that the rows need, each once, in an order that can be run."""
        names: list[str] = []
        for row in rows:
            names += [name for name in self.chain(row.step) if name not in names]
        return (self.step(name) for name in names)


def _check(option: str, asked: Sequence[str] | None, known: set[str], suite: str) -> None:
    unknown = sorted(set(asked or ()) - known)
    if unknown:
        raise UserError(
            f'{option} {" ".join(unknown)}: the {suite} suite has {", ".join(sorted(known))}'
        )


_SHAPES = 'configs/shapes/'

DEMO = Suite(
    name='demo',
    steps=(
        Step(_SHAPES + 'vitb_mae.py'),
        Step(_SHAPES + 'vitb_cls.py', needs=('vitb_mae',)),
        Step(_SHAPES + 'vits_scratch_cls.py'),
        Step(_SHAPES + 'g2sd_vits_generic.py', needs=('vitb_mae',)),
        Step(_SHAPES + 'g2sd_vits_cls_nosd.py', needs=('g2sd_vits_generic',)),
        Step(_SHAPES + 'g2sd_vits_cls.py', needs=('g2sd_vits_generic', 'vitb_cls')),
        Step(_SHAPES + 'vits_single_stage.py', needs=('vitb_cls',)),
        Step(_SHAPES + 'vitb_maskrcnn.py', needs=('vitb_mae',)),
        Step(_SHAPES + 'g2sd_vits_maskrcnn_nosd.py', needs=('g2sd_vits_generic',)),
        Step(_SHAPES + 'g2sd_vits_maskrcnn.py', needs=('g2sd_vits_generic', 'vitb_maskrcnn')),
        Step(_SHAPES + 'vitb_upernet.py', needs=('vitb_mae',)),
        Step(_SHAPES + 'g2sd_vits_upernet_nosd.py', needs=('g2sd_vits_generic',)),
        Step(_SHAPES + 'g2sd_vits_upernet.py', needs=('g2sd_vits_generic', 'vitb_upernet')),
    ),
    rows=(
        Row('cls', 'teacher', 'vitb_cls'),
        Row('cls', 'scratch', 'vits_scratch_cls'),
        Row('cls', 'single_stage', 'vits_single_stage'),
        Row('cls', 'g2sd_nosd', 'g2sd_vits_cls_nosd'),
        Row('cls', 'g2sd', 'g2sd_vits_cls'),
        Row('det', 'teacher', 'vitb_maskrcnn'),
        Row('det', 'g2sd_nosd', 'g2sd_vits_maskrcnn_nosd'),
        Row('det', 'g2sd', 'g2sd_vits_maskrcnn'),
        Row('seg', 'teacher', 'vitb_upernet'),
        Row('seg', 'g2sd_nosd', 'g2sd_vits_upernet_nosd'),
        Row('seg', 'g2sd', 'g2sd_vits_upernet'),
    ),
)

SUITES = {suite.name: suite for suite in (DEMO,)}
