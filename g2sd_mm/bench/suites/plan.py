"""What running a suite would mean: commands, GPU hours, and what is missing for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ...checkpoints import CheckpointError, Kind, identify, read_weights
from ...compat.safe_load import is_bare_pickle, is_zip, refuse_impostors
from ...config.parts import PACKED, data_folder, innermost_dataset
from ...config.project import project_folder
from ...published import content
from .budget import (
    NOT_MEASURED,
    Throughput,
    amount,
    raw_config,
    train_root,
    work_of,
    workload,
)
from .commands import (
    HERE,
    Launcher,
    evaluation_command,
    mixed_precision,
    train_command,
    write_config,
)
from .suites import Row, Step, Suite


def with_public_files(suite: Suite, folder: Path) -> Suite:
    """The suite in which published weights found in ``folder`` stand in for the runs of them.

    Raises:
        CheckpointError: if a file of that name is something else.
    """

    def change(step: Step) -> Step:
        file = folder / step.given
        if step.given and file.is_file():
            refuse_other(file, step)
            return replace(step, needs=(), file=str(file))
        return step

    return suite.with_steps(change)


def with_given_files(suite: Suite, rows: Sequence[Row] | None = None) -> Suite:
    """The suite in which weights that come with the project stand in for runs that rows need.

    Without ``rows`` all of the suite's are meant.
    """
    if not suite.given:
        return suite
    folder = project_folder() / suite.given
    changed = with_public_files(suite, folder)
    needed = changed.steps_of(suite.rows if rows is None else rows)
    given = [step.name for step in needed if Path(step.file).parent == folder]
    if not given:
        return suite
    note = (
        f'Given, and not trained here: {", ".join(given)} ({suite.given}/README.md says how they '
        'were made). The column "total" has none of their training; with --teachers train it has.'
    )
    return replace(changed, note=note)


def missing_data(suite: Suite, rows: Sequence[Row]) -> list[str]:
    """One line for each file or folder that the rows read and that is not there, or is empty."""
    trained = [step.config for step in suite.steps_of(rows) if not step.file]
    tested = [row.data or suite.step(row.step).config for row in rows]
    missing: dict[str, str] = {}
    for configs, splits in ((trained, TRAINING), (tested, TESTING)):
        for config in dict.fromkeys(configs):
            for place, how in lacking(config, splits).items():
                missing.setdefault(place, how)
    return [f'{place}: {how}' for place, how in missing.items()]


def missing_weights(suite: Suite, rows: Sequence[Row], folder: Path) -> list[str]:
    """One line for each published file that could stand in for a run and is not there."""
    return [
        f'{folder / step.given} ({step.origin}): {step.name} is trained instead'
        for step in suite.steps_of(rows)
        if step.given and not step.file
    ]


def describe(
    suite: Suite,
    rows: Sequence[Row],
    seeds: Sequence[int],
    folder: Path,
    weights: Path,
    launcher: Launcher,
    throughput: Throughput,
    resume: bool = False,
) -> Iterator[str]:
    """The lines of ``--dry-run``: a shell script, whose comments are for the reader.

    Args:
        suite, rows, seeds: what would be run; published files are in the steps already.
        folder: of the runs.
        weights: where published files are looked for.
        launcher, resume: see :func:`~g2sd_mm.bench.suites.commands.train_command`.
        throughput: measured images a second.
    """
    steps = list(suite.steps_of(rows))
    costs = [_cost(step, launcher, throughput) for step in steps]
    numbers = ' '.join(map(str, seeds))
    yield f'# suite {suite.name}: {len(rows)} rows, {len(steps)} steps, seeds {numbers}'
    yield f'# throughput: {throughput.source}'
    for seed in seeds:
        runs = folder / f'seed{seed}'
        for number, (step, (_, said)) in enumerate(zip(steps, costs, strict=True), start=1):
            yield ''
            yield f'# {number}/{len(steps)} {step.name}: {said}'
            write_config(step, runs, launcher)
            yield train_command(step, seed, runs, launcher, resume)
        for same in _evaluations(rows):
            yield ''
            for row in same:
                yield f'# {row.table}: {row.task} {row.student} {row.method} {row.setting}'.rstrip()
            yield evaluation_command(suite.step(same[0].step), same[0], runs, launcher)
    yield ''
    yield from _totals([hours for hours, _ in costs], len(seeds))
    yield (
        f'# GPU hours are of training alone: {len(_evaluations(rows)) * len(seeds)} evaluations '
        'are not counted'
    )
    missing = [*missing_data(suite, rows), *missing_weights(suite, rows, weights)]
    yield f'# missing: {len(missing) or "nothing"}'
    yield from (f'#   {line}' for line in missing)


def _evaluations(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows by what is evaluated: the default of an ablation is a row of the main table too."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.step, row.data), []).append(row)
    return list(found.values())


def _cost(
    step: Step, launcher: Launcher, throughput: Throughput
) -> tuple[float | None, str]:
    """GPU hours of a run, and in words what it does."""
    if step.file:
        return 0.0, 'published weights'
    cfg = raw_config(step.config, step.options)
    work, hours, spent = work_of(cfg), None, 'GPU hours not measured'
    if throughput.rates:
        hours = throughput.gpu_hours(workload(cfg), mixed_precision(step, launcher), work)
    if hours is not None:
        spent = f'{hours:.1f} GPU hours'
    return hours, f'{amount(work, train_root(cfg))}; {spent}'


def _totals(hours: Sequence[float | None], seeds: int) -> Iterator[str]:
    known = [h for h in hours if h is not None]
    if any(known):
        yield f'# GPU hours of the steps that were measured: {sum(known) * seeds:,.1f}'
    if lacking := len(hours) - len(known):
        yield f'# GPU hours {NOT_MEASURED}: {lacking} of {len(hours)} steps'


def local_commands(
    suite: Suite, rows: Sequence[Row], seeds: Sequence[int], folder: Path
) -> Iterator[str]:
    """The commands of a suite on this machine's cores; small configs that they name are written."""
    for seed in seeds:
        runs = folder / f'seed{seed}'
        for step in suite.steps_of(rows):
            write_config(step, runs, HERE)
            yield train_command(step, seed, runs, HERE)
        for row in rows:
            if row.data:
                yield evaluation_command(suite.step(row.step), row, runs, HERE)


TRAINING = ('train', 'val')  # what tools/train.py opens
TESTING = ('test',)  # what tools/test.py opens

#: Path -> why it does not do: ``''`` where there is nothing, or ``empty``.
Lacking = dict[str, str]


def lacking(path: str, splits: tuple[str, ...]) -> dict[str, str]:
    """What a config reads and what is not there, or is empty.

    A data set whose folder is not there at all is one path, not one for each of its parts.

    Args:
        path: config file.
        splits: loaders that are used, :data:`TRAINING` or :data:`TESTING`.

    Returns:
        path -> one sentence that says how to lay the data out.
    """
    cfg = raw_config(path)
    if cfg.get('shapes'):
        return {}  # generated on first use
    found: Lacking = {}
    for split in splits:
        if cfg.get(f'{split}_dataloader'):
            found |= _of_split(cfg, split)
    layout = cfg.get('data_layout')
    # a sentence with more than one path in it
    how = layout.replace('data/', f'{data_folder()}/') if layout else f'{path} has it'
    return {
        place: f'{why and why + "; "}lay it out as {how}' for place, why in found.items()
    }


def _here(path: str) -> str:
    """A config's path, as it is on this machine."""
    head = 'data/'
    return f'{data_folder()}/{path.removeprefix(head)}' if path.startswith(head) else path


def _of_split(cfg: Config, split: str) -> Lacking:
    dataset = innermost_dataset(cfg[f'{split}_dataloader'].dataset)
    root = str(dataset.get('data_root') or '.')
    if root.startswith(PACKED):
        return _missing([root.removeprefix(PACKED).rstrip('/')])  # one file, and all is in it
    if _missing([root]):
        return _missing([root])
    found = _missing(_parts(dataset, root))
    if dataset.get('numbering'):  # its class folders may be empty
        found |= _missing([str(dataset.numbering)], lambda path: any(path.glob('*/')))
    evaluator = cfg.get(f'{split}_evaluator')
    if isinstance(evaluator, Mapping):
        found |= _missing(_evaluated(evaluator, root))
    return found


def _parts(dataset: Any, root: str) -> Iterator[str]:
    """What a data set reads below its root, or beside it."""
    prefix = dataset.get('data_prefix') or {}
    folders = [prefix] if isinstance(prefix, str) else list(prefix.values())
    if dataset.get('ann_file'):
        yield os.path.join(root, dataset.ann_file)
    for folder in folders or ['']:
        yield os.path.join(root, folder)


def _evaluated(evaluator: Mapping[str, Any], root: str) -> Iterator[str]:
    """What a metric reads, or needs to have been read."""
    if evaluator.get('ann_file'):
        yield str(evaluator['ann_file'])
    if evaluator.get('type') == 'CorruptionError':  # mCE is of all corruptions, or is not told
        common = content()['alexnet_corruption_errors']['values']
        for name in evaluator.get('relative_to') or common:
            grouped = sorted(Path(_here(root)).glob(f'*/{name}'))  # noise/gaussian_noise, ...
            yield str(grouped[0]) if grouped else os.path.join(root, name)


def _has_content(path: Path) -> bool:
    """Whether a file has bytes, or a folder has a file at any depth (the first one is enough)."""
    if path.is_file():
        return path.stat().st_size > 0
    return any(files for _, _, files in os.walk(path, followlinks=True))


def _missing(places: Iterable[str], full: Callable[[Path], bool] = _has_content) -> Lacking:
    """Those of the places that are not there, or have nothing in them."""
    found: Lacking = {}
    for place in dict.fromkeys(_here(place).rstrip('/') for place in places):
        path = Path(place)
        if not path.exists():
            found[place] = ''
        elif not full(path):
            found[place] = 'empty'
    return found


#: What a published file may be, by its name; the same network of this project does too.
_KINDS = {
    'mae_pretrain_vit_base_full.pth': (Kind.MAE_FULL, Kind.MAE_RUN),
    'mae_pretrain_vit_large.pth': (Kind.MAE_ENCODER, Kind.MAE_FULL, Kind.MAE_RUN),
    'mae_finetuned_vit_base.pth': (Kind.MAE_FINETUNED, Kind.MM_CLASSIFIER),
    'vitdet_b_maskrcnn.pth': (Kind.DETECTRON2, Kind.MM_DETECTOR),
}


def refuse_other(file: Path, step: Step) -> None:
    """Check what lies where a step's published file is expected, without reading its tensors.

    Of a file that cannot be looked into without reading all of it (a pickle, or written before
    torch 1.6) the first bytes count alone; whether it fits is seen when it is loaded.

    Raises:
        CheckpointError: for a text, a page, half a file, or weights of another kind, in one line.
    """
    advice = f'{step.name} takes {step.origin} from it; move it away to train {step.name} instead'
    try:
        if is_bare_pickle(file):
            return
        refuse_impostors(file)
        if not is_zip(file):
            return
        kind = identify(read_weights(file, mmap=True).state)
    except CheckpointError as error:
        raise CheckpointError(f'{error} ({advice})') from error
    if kind not in _KINDS.get(step.given, tuple(Kind)):
        raise CheckpointError(f'{file} is {kind.title}: {advice}')
