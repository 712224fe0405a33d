"""The shell commands of a suite's steps: what is printed is what is run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pprint import pformat
from typing import Any

from ...checkpoints.record import sidecar_path
from ...config.options import option_words
from ...config.project import find_config, script
from ...errors import UserError
from ...whole_files import write_text
from .budget import raw_config, work_of
from .suites import Row, Step


@dataclass(frozen=True)
class Launcher:
    """How a command's processes are started.

    kind: ``none`` (one process), ``pytorch`` (torchrun on this machine) or ``slurm``.
    gpus: processes, one a GPU.
    partition: of Slurm.
    amp: mixed precision where the published run had it.
    fits_batch: the recipe's batch is spread over ``gpus``; else a config runs as it is.
    """

    kind: str = 'pytorch'
    gpus: int = 8
    partition: str = ''
    amp: bool = True
    fits_batch: bool = True

    def __post_init__(self) -> None:
        if self.kind == 'slurm' and not self.partition:
            raise UserError('--launcher slurm needs --partition NAME')
        if self.kind == 'none' and self.gpus != 1:
            raise UserError(f'--launcher none is one process: say --gpus 1, not {self.gpus}')
        if self.gpus < 1:
            raise UserError(f'--gpus {self.gpus}: at least 1')

    def command(self, action: str, job: str, arguments: Sequence[str], options: str) -> str:
        """``action`` (train, test or probe) with its positional arguments and further options."""
        words = shlex.join(arguments)
        if self.kind == 'none':
            return f'python {script(f"{action}.py")} {words} {options}'
        if self.kind == 'pytorch':
            return f'bash {script(f"dist_{action}.sh")} {words} {self.gpus} {options}'
        return (
            f'GPUS={self.gpus} GPUS_PER_NODE={min(self.gpus, 8)} '
            f'bash {script(f"slurm_{action}.sh")} {shlex.join([self.partition, job])} '
            f'{words} {options}'
        )


#: Runs on this machine's cores, as their configs say.
HERE = Launcher('none', gpus=1, amp=False, fits_batch=False)
_LONG = 160  # characters of options: more of them are written into a file


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
    config, options = step_config(step, runs, launcher)
    return launcher.command('train', step.name, [config], shlex.join([*words, *options]))


def step_config(step: Step, runs: Path, launcher: Launcher) -> tuple[str, list[str]]:
    """The config that a step's commands name, and the options that stand behind it.

    Long options (own data, pipelines) are in a small config file, ``<runs>/configs/<step>.py``,
    which :func:`write_config` writes.
    """
    options = _options(step, launcher)
    words = ['--cfg-options', *option_words(options)] if options else []
    if len(shlex.join(words)) <= _LONG:
        return step.config, words
    return str(runs / 'configs' / f'{step.name}.py'), []


def write_config(step: Step, runs: Path, launcher: Launcher) -> None:
    """Write the small config that the step's commands name, if they name one."""
    config, _ = step_config(step, runs, launcher)
    if config != step.config:
        Path(config).parent.mkdir(parents=True, exist_ok=True)
        text = config_over(find_config(step.config), _options(step, launcher))
        write_text(Path(config), text)


def config_over(base: str, options: Mapping[str, Any]) -> str:
    """The text of a config that is ``base`` with options (dotted key -> value)."""
    split = [(key.split('.'), value) for key, value in options.items()]
    # entries of lists cannot be merged by a file: such a part is taken over and changed in place
    changed = [parts[0] for parts, _ in split if any(part.isdigit() for part in parts)]
    lines = [f'_base_ = {str(Path(base).absolute())!r}', '']
    lines += [f'{first} = _base_.{first}' for first in dict.fromkeys(changed)]
    merged: dict[str, Any] = {}
    for parts, value in split:
        if parts[0] in changed:
            lines += _assignments(parts, value)
            continue
        inner = merged
        for part in parts[:-1]:
            inner = inner.setdefault(part, {})
        inner[parts[-1]] = value
    lines += [f'{k} = {pformat(v, width=96, sort_dicts=False)}' for k, v in merged.items()]
    return '\n'.join(lines) + '\n'


def _assignments(parts: Sequence[str], value: Any) -> Iterator[str]:
    """Statements that set an entry below a variable, as merging an option would."""
    if isinstance(value, Mapping) and value and '_delete_' not in value:
        for key, item in value.items():
            yield from _assignments([*parts, key], item)
        return
    first, *inner, last = parts
    place = first
    for part in inner:
        if not part.isdigit():
            yield f'{place}.setdefault({part!r}, dict())'
        place += f'[{part}]' if part.isdigit() else f'[{part!r}]'
    if isinstance(value, Mapping):
        value = {key: item for key, item in value.items() if key != '_delete_'}
    yield f'{place}[{last if last.isdigit() else repr(last)}] = {value!r}'


def _link_command(step: Step, runs: Path) -> str:
    """Let a ready-made file stand where a run's weights would be; those of a real run are kept."""
    folder, source = runs / step.name, Path(step.file).absolute()
    target = folder / 'weights.pth'
    kept = (
        f'error: {target} was trained, and {source} is not put in its place: move one of them away'
    )
    place, from_, error = (shlex.quote(str(text)) for text in (target, source, kept))
    command = (
        f'mkdir -p {shlex.quote(str(folder))} && '
        f'if [ -e {place} ] && [ ! -L {place} ]; then echo {error} >&2; false; '
        f'else ln -sfn {from_} {place}; fi'
    )
    if (beside := sidecar_path(source)).is_file():
        record = shlex.quote(str(sidecar_path(target)))
        command += f' && ln -sfn {shlex.quote(str(beside))} {record}'
    return command


def _options(step: Step, launcher: Launcher) -> dict[str, Any]:
    """The step's, and the recipe's batch on another number of GPUs."""
    if not launcher.fits_batch:
        return step.options
    work = work_of(raw_config(step.config, step.options))
    if work.processes == launcher.gpus:
        return step.options
    if work.step % launcher.gpus:
        raise UserError(
            f'--gpus {launcher.gpus} does not divide the {work.step} images a step of {step.config}'
        )
    return {**step.options, 'train_dataloader.batch_size': work.step // launcher.gpus}


def evaluation_command(step: Step, row: Row, runs: Path, launcher: Launcher) -> str:
    """The command that evaluates a row's weights and writes :func:`evaluation_file`."""
    folder = runs / step.name
    weights, out = str(folder / 'weights.pth'), ['--out', str(evaluation_file(row, runs))]
    if row.probe:
        kept = ['--cache', str(runs / 'features'), *out]
        return HERE.command('probe', step.name, [weights], shlex.join(
            ['--data', row.data, *row.probe, *kept]))  # fmt: skip
    words = [*out, '--work-dir', str(folder / 'test')]
    words += ['--data', row.data] if row.data else []
    config, options = step_config(step, runs, launcher)
    return launcher.command('test', step.name, [config, weights], shlex.join([*words, *options]))


def evaluation_file(row: Row, runs: Path) -> Path:
    """Where a row's evaluation is kept."""
    kind = 'probe' if row.probe else 'test'
    return runs / row.step / (f'{kind}_{Path(row.data).stem}.json' if row.data else 'test.json')
