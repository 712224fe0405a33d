"""The shell commands of a suite's steps: what is printed is what is run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config.options import option_words
from ..config.project import script
from ..errors import UserError
from .suites import Row, Step
from .work import raw_config, work_of


@dataclass(frozen=True)
class Launcher:
    """How a command's processes are started.

    kind: ``none`` (one process), ``pytorch`` (torchrun on this machine) or ``slurm``.
    gpus: processes, one a GPU.
    partition: of Slurm.
    amp: mixed precision where the published run had it.
    """

    kind: str = 'pytorch'
    gpus: int = 8
    partition: str = ''
    amp: bool = True

    def __post_init__(self) -> None:
        if self.kind == 'slurm' and not self.partition:
            raise UserError('--launcher slurm needs --partition NAME')
        if self.kind == 'none' and self.gpus != 1:
            raise UserError(f'--launcher none is one process: say --gpus 1, not {self.gpus}')
        if self.gpus < 1:
            raise UserError(f'--gpus {self.gpus}: at least 1')

    def command(self, action: str, job: str, arguments: Sequence[str], options: str) -> str:
        """``action`` (train or test) with its positional arguments and further options."""
        words = shlex.join(arguments)
        if self.kind == 'none':
            start = f'python {script(f"{action}.py")} {words}'
        elif self.kind == 'pytorch':
            start = f'bash {script(f"dist_{action}.sh")} {words} {self.gpus}'
        else:
            name = shlex.join([self.partition, job])
            per_node = min(self.gpus, 8)
            start = (
                f'GPUS={self.gpus} GPUS_PER_NODE={per_node} '
                f'bash {script(f"slurm_{action}.sh")} {name} {words}'
            )
        return f'{start} {options}'


def mixed_precision(step: Step, launcher: Launcher) -> bool:
    """Whether a step's run is in mixed precision."""
    return step.amp and launcher.amp


def train_command(
    step: Step, seed: int, runs: Path, launcher: Launcher, resume: bool = False
) -> str:
    """The command that trains a step, or puts its ready-made file where the run's would be."""
    if step.file:
        return _link_command(step, runs)
    words = ['--seed', str(seed), '--runs', str(runs), '--work-dir', str(runs / step.name)]
    words += ['--amp'] if mixed_precision(step, launcher) else []
    words += ['--resume'] if resume else []
    options = {**step.options, **_batch_options(step, launcher)}
    if options:
        words += ['--cfg-options', *option_words(options)]
    return launcher.command('train', step.name, [step.config], shlex.join(words))


def _link_command(step: Step, runs: Path) -> str:
    """Let a ready-made file stand where a run's weights would be; those of a real run are kept."""
    folder, source = runs / step.name, Path(step.file).absolute()
    target = folder / 'weights.pth'
    kept = (
        f'error: {target} was trained, and {source} is not put in its place: move one of them away'
    )
    place, from_, error = (shlex.quote(str(text)) for text in (target, source, kept))
    return (
        f'mkdir -p {shlex.quote(str(folder))} && '
        f'if [ -e {place} ] && [ ! -L {place} ]; then echo {error} >&2; false; '
        f'else ln -sfn {from_} {place}; fi'
    )


def _batch_options(step: Step, launcher: Launcher) -> dict[str, Any]:
    """The recipe's batch on another number of GPUs: fewer images or more on each."""
    work = work_of(raw_config(step.config, step.options))
    if work.processes == launcher.gpus:
        return {}
    if work.step % launcher.gpus:
        raise UserError(
            f'--gpus {launcher.gpus} does not divide the {work.step} images a step of {step.config}'
        )
    return {'train_dataloader.batch_size': work.step // launcher.gpus}


def evaluation_command(step: Step, row: Row, runs: Path, launcher: Launcher) -> str:
    """The command that evaluates a row's weights and writes :func:`evaluation_file`."""
    folder = runs / step.name
    words = ['--out', str(evaluation_file(row, runs)), '--work-dir', str(folder / 'test')]
    words += ['--data', row.data] if row.data else []
    weights = str(folder / 'weights.pth')
    return launcher.command('test', step.name, [step.config, weights], shlex.join(words))


def evaluation_file(row: Row, runs: Path) -> Path:
    """Where a row's evaluation is kept."""
    return runs / row.step / (f'test_{Path(row.data).stem}.json' if row.data else 'test.json')
