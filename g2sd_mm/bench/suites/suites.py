"""What a suite trains: steps (one config each), and the table rows that they end in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...errors import UserError
from ...tasks import TASKS
from ..results import identity


@dataclass(frozen=True)
class Step:
    """One training run.

    Attributes:
        config: path of the config; its stem names the run.
        needs: names of the runs whose weights it loads.
        options: config entries that the suite changes.
        label: the run's name where several steps have one config.
        amp: whether the published run was in mixed precision.
        given: name of a weights file that may stand in for the run.
        origin: what that file is.
        file: where that file lies, once it is known to be there; the run is then not trained.
    """

    config: str
    needs: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    label: str = ''
    amp: bool = False
    given: str = ''
    origin: str = ''
    file: str = ''

    @property
    def name(self) -> str:
        """Its label, or the config's file name without folder and ending."""
        return self.label or self.config.rsplit('/', 1)[-1].removesuffix('.py')


@dataclass(frozen=True)
class Row:
    """One line of a results table: the metrics of its last step.

    Attributes:
        table: ``main``, or the ablation or test that it belongs to.
        setting: what the ablation varies, or the data that it is tested on.
        data: config whose test data take the place of the step's own.
        metric: what it is judged by, where that is not the task's headline.
        network: that is measured, where the step's name does not have it.
        probe: options of ``tools/probe.py``, which then measures the step's frozen features on the
            images of ``data``; empty for rows that ``tools/test.py`` evaluates.
    """

    task: str
    method: str
    step: str
    table: str = 'main'
    setting: str = ''
    data: str = ''
    metric: str = ''
    network: str = ''
    probe: tuple[str, ...] = ()

    @property
    def student(self) -> str:
        """The network that is measured, as the step's name has it: ``vits``, ``vitb``, ..."""
        return self.network or next(p for p in self.step.split('_') if p.startswith('vit'))

    @property
    def identity(self) -> tuple[str, ...]:
        """What tells it from other rows, as lines of ``results.json`` have it."""
        return identity(vars(self) | {'student': self.student})

    @property
    def judged_by(self) -> str:
        """Name of the metric that the row is compared by."""
        return self.metric or TASKS[self.task].headline


@dataclass(frozen=True)
class Suite:
    """Steps and rows under a name.

    Attributes:
        seeds: that are run if no others are asked for.
        launched: whether a launcher (torchrun, Slurm) starts the processes of its steps; else they
            run on this machine's own cores.
        record: folder that keeps finished rows, so that a table can be made in parts.
        keeps: whether rows that are finished now go into the record too.
        note: what a reader of its results has to know first.
        recipe: how its runs differ from the published ones.
        methods: names of rows that a reader added -> how reports show them.
        tested: what its rows are tested on, where that is not what their runs validate on.
        on_request: tasks whose rows are run only if ``--tasks`` names them.
        tables_on_request: tables whose rows are run only if ``--tables`` names them, or ``--rows``
            the row.
        given: folder of the project whose files stand in for runs, unless they are to be trained.
    """

    name: str
    steps: tuple[Step, ...]
    rows: tuple[Row, ...]
    seeds: tuple[int, ...] = (0,)
    launched: bool = False
    record: str | None = None
    keeps: bool = True
    note: str = ''
    recipe: str = ''
    tested: str = ''
    on_request: tuple[str, ...] = ()
    tables_on_request: tuple[str, ...] = ()
    given: str = ''
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)

    def step(self, name: str) -> Step:
        """The step called ``name``."""
        return next(step for step in self.steps if step.name == name)

    def chain(self, name: str) -> list[str]:
        """A step and everything that it needs, prerequisites first, each once."""
        names: list[str] = []
        for need in self.step(name).needs:
            names += [n for n in self.chain(need) if n not in names]
        return [*names, name]

    def select(self, **asked: Sequence[str] | None) -> list[Row]:
        """The rows of the given tasks, methods, ... (None: all), in the table's order.

        Without tasks those of :attr:`on_request` are left out, and tables likewise.

        Args:
            asked: field of :class:`Row` -> admitted values.

        Raises:
            UserError: for a value that no row of the suite has, or values that none has together.
        """
        for name, values in asked.items():
            known = {getattr(row, name) for row in self.rows}
            unknown = sorted(set(values or ()) - known)
            if unknown:
                raise UserError(
                    f'{_OPTIONS[name]} {" ".join(unknown)}: the {self.name} suite has '
                    f'{", ".join(sorted(known))}'
                )
        named = {name: values or () for name, values in asked.items()}
        found = [
            row
            for row in self.rows
            if self._is_offered(row, named)
            and all(not values or getattr(row, name) in values for name, values in named.items())
        ]
        if not found:  # the results would be written over by those of nothing
            words = (f'{_OPTIONS[name]} {" ".join(v)}' for name, v in named.items() if v)
            raise UserError(
                f'{" ".join(words)}: the {self.name} suite has no row of all these; leave one out'
            )
        return found

    def _is_offered(self, row: Row, named: Mapping[str, Sequence[str]]) -> bool:
        """Whether a row is run without its task, table or itself being named, or one of them is."""
        # their names ask for their rows of the main table
        in_main = {row.method for row in self.rows if row.table == 'main'}
        return (row.task not in self.on_request or bool(named.get('task'))) and (
            row.table not in self.tables_on_request
            or bool(named.get('table'))
            or (row.method in named.get('method', ()) and row.method not in in_main)
        )

    @property
    def usual_rows(self) -> tuple[Row, ...]:
        """The rows that are run if nobody names any."""
        return tuple(row for row in self.rows if self._is_offered(row, {}))

    def steps_of(self, rows: Sequence[Row]) -> Iterator[Step]:
        """Every step that the rows need, each once, in an order that can be run."""
        names: list[str] = []
        for row in rows:
            names += [name for name in self.chain(row.step) if name not in names]
        return (self.step(name) for name in names)

    def on_own_test_data(self) -> Suite:
        """The same suite with every row tested on what its last step validates on.

        Frozen features are left out: their images are named by the suite.
        """
        rows = tuple(replace(row, data='') for row in self.rows if not row.probe)
        return replace(self, rows=rows, tested='')

    def with_steps(self, change: Callable[[Step], Step]) -> Suite:
        """The same suite with every step replaced by ``change(step)``."""
        return replace(self, steps=tuple(change(step) for step in self.steps))


#: The tasks of the paper's tables.
PAPER_TASKS = ('cls', 'det', 'seg')


#: Of these, the task whose runs with a teacher are in float32: the release's distilling loop of
#: detection ignores the setting.
FULL_PRECISION = 'det'


def heads() -> dict[str, str]:
    """Of the tasks of the paper's tables: key -> how their configs end."""
    return {key: TASKS[key].head for key in PAPER_TASKS}


def folder_of(task: str) -> str:
    """Where the configs of one of these tasks are, below ``configs``."""
    paper = TASKS[task].paper
    assert paper is not None
    return paper.folder


def single_stage(student: str, task: str) -> str:
    """Name of the run without stage 1: ``vits_single_stage``, ``vits_single_stage_maskrcnn``."""
    head = '' if task == 'cls' else f'_{TASKS[task].head}'
    return f'{student}_single_stage{head}'


def fine_tuned(config: str, encoder: str, label: str, amp: bool = False) -> Step:
    """A config of plain fine-tuning, from the encoder of another run."""
    start = {'model.backbone.init_cfg.checkpoint': f'work_dirs/{encoder}/weights.pth'}
    return Step(config, needs=(encoder,), options=start, label=label, amp=amp)


_OPTIONS = {'task': '--tasks', 'method': '--rows', 'student': '--students', 'table': '--tables'}
