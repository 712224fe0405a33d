"""Train the plan, and leave a student that is evaluated, exported and described."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ...config.project import find_config
from ...data_checks import check
from ...data_checks.run import sources_of_layout
from ...data_layouts import Choices
from ...distill.teacher_metric import known_metric
from ...errors import RunError, UserError
from ...export import export_student
from ...image_files import is_stray
from ...models.positions import height_and_width
from ...progress import Bars
from ...runs.work_dir import check_work_dir, work_dir_lock
from ...students import Student, load_student
from ...unexpected import account_of
from ...whole_files import write_text
from ..reports.page import render
from ..reports.summary import summarise
from ..reports.tables import text_table
from ..results import judged_by
from ..suites.commands import HERE, config_over, train_command
from ..suites.data import OwnData
from ..suites.jobs import default_jobs, refuse_too_small
from ..suites.pictures import draw_pictures
from ..suites.run import run_suite
from .card import Figures, write_card
from .kept_answers import FOLDER, size_of
from .plan import Plan, Wishes, describe, look_at, make_plan, same_choices, seconds_of
from .trial import Trial, fit_to_time, jobs_in_memory, measured, try_out

_PLAN = 'plan.json'
_LEAST_ROOM = 1e9  # bytes on the disk
#: Harm to one object, which training passes over.
_LEFT_OUT = ('degenerate-box',)
_TIMED = 10  # predictions, for the milliseconds of one
Say = Callable[[str], None]


@dataclass(frozen=True)
class Made:
    """What ``g2sd distill`` leaves.

    folder: with everything; the student is in ``student/``.
    weights: of the student.
    files: exported, the card among them.
    report: HTML page.
    rows: of ``results.json``.
    """

    folder: Path
    weights: Path
    files: tuple[Path, ...]
    report: Path
    rows: tuple[dict[str, Any], ...]


def distill(
    data: str,
    *,
    teacher: str | None = None,
    student: str | None = None,
    task: str | None = None,
    epochs: float | None = None,
    time_budget: str | float | None = None,
    twin: bool = True,
    seed: int = 0,
    out: str | None = None,
    device: str | None = None,
    jobs: int | None = None,
    force: bool = False,
    dry_run: bool = False,
    plain_config: str | None = None,
    choices: Choices | None = None,
    say: Say = print,
    bars: Bars | None = None,
) -> Made | None:
    """From a folder of images to a student that is trained, evaluated, exported and described.

    Interrupted, the same call goes on where it was.

    Args:
        data: folder, see :data:`~g2sd_mm.data_layouts.LAYOUTS`.
        teacher: file of weights, name of timm, or both as ``NAME=FILE``; one is trained by default.
        student: arch of this project or name of timm; chosen for the machine by default.
        task: cls, det, seg or depth; found by itself.
        epochs: of the student's fine-tuning; the other runs in proportion.
        time_budget: of all training: ``2h``, ``90m`` or seconds.
        twin: also fine-tune the student without its teacher, to compare with.
        seed: of all runs.
        out: folder, ``work_dirs/distill_<name of data>`` by default.
        device: ``cpu`` keeps a GPU out of it.
        jobs: runs at once.
        force: go on although the data checker found harm.
        dry_run: end after the plan with its times; returns None.
        choices: where the folder can be read in two ways, and what is held out of it.
        plain_config: folder that gets the configs of the runs, for use with ``tools/train.py``.
        say: told what happens, one line each.
        bars: that show how far it is.

    Raises:
        UserError: for data that cannot be trained on, and for choices that do not fit them.
        RunError: if a run fails.
    """
    seconds = seconds_of(time_budget) if isinstance(time_budget, str) else time_budget
    wishes = Wishes(
        data, task, epochs, seconds, twin, seed, student, teacher, choices or Choices()
    )
    refuse_too_small('--jobs', jobs, 1)
    refuse_too_small('--seed', seed, 0)
    _use_device(device)
    at_once = jobs_in_memory(jobs or default_jobs())
    own = look_at(wishes)
    folder = Path(out or Path('work_dirs') / f'distill_{own.name}')
    _refuse_among_classes(folder, own)
    _check_room(folder)
    if plain_config:
        check_work_dir(plain_config, '--plain-config')
    with work_dir_lock(str(folder), '--out'):
        kept = _read_plan(folder, wishes, own.fingerprints)
        _check_data(own, wishes, force, say, bars)
        plan = make_plan(wishes, own, kept['scale'] if kept else None)
        told = list(describe(plan))
        for line in told:
            say(line)
        jobs = jobs or at_once
        if not kept:
            say(f'trying a few updates of every run on {os.cpu_count()} cores, for its time ...')
        trial = Trial(**kept['trial']) if kept else try_out(plan, folder / 'trial', jobs, bars)
        jobs = jobs_in_memory(jobs, trial.memory)
        if not kept:
            plan = fit_to_time(plan, trial, jobs)
            for line in describe(plan):
                if line not in told:
                    say(line)
            _check_room(folder, sum(size_of(step, plan.data) for step in plan.steps()))
            _write_plan(folder, plan, trial)
        configs = _write_configs(plan, Path(plain_config)) if plain_config else ()
        for line in (*measured(plan, trial, jobs), *configs):
            say(line)
        if dry_run:
            return None
        return _train(plan, folder, jobs, _command(wishes, force), say, bars)


def _use_device(device: str | None) -> None:
    if device not in (None, 'cpu', 'cuda'):
        raise UserError(f'--device {device}: cpu or cuda')
    if device == 'cpu':
        os.environ['CUDA_VISIBLE_DEVICES'] = ''  # of the runs, which are processes of their own
    if device == 'cuda' and not torch.cuda.is_available():
        raise UserError('--device cuda: PyTorch finds no GPU here; leave it out to use the CPU')


def _refuse_among_classes(folder: Path, own: OwnData) -> None:
    """Pictures in it would be images of one more class at the next start."""
    root, place = own.sources[0].root.resolve(), folder.resolve()
    inside = own.tasks == ['cls'] and place.is_relative_to(root)
    if inside and not any(map(is_stray, place.relative_to(root).parts)):
        raise UserError(f'--out {folder} lies among the class folders of {root}: give another')


def _check_room(folder: Path, answers: float = 0.0) -> None:
    """``answers``: bytes that those of teachers take."""
    check_work_dir(str(folder), '--out')
    free, needed = shutil.disk_usage(folder).free, _LEAST_ROOM + answers
    if free < needed:
        raise UserError(
            f'{folder} has {free / 1e6:.0f} MB left on its disk, checkpoints'
            + (" and teachers' answers" if answers else '')
            + f' need about {needed / 1e6:.0f}: make room, or give another folder with --out DIR'
        )


def _check_data(own: OwnData, wishes: Wishes, force: bool, say: Say, bars: Bars | None) -> None:
    """The data checker's findings come first: what it calls harm costs hours later."""
    progress = bars.counter('checked', 'files') if bars else lambda done, total: None
    layouts = [source.layout for source in own.sources if source.layout]
    report = check([s for layout in layouts for s in sources_of_layout(layout)], 0, progress)
    data = wishes.data
    command = shlex.join(['python', 'tools/check_data.py', data, *wishes.choices.words()])
    notes = len(report.findings) - report.harmful
    called = 'depth maps' if own.tasks == ['depth'] else 'masks'
    say(
        f'{data}: {report.images:,} images'
        + (f' and {report.masks:,} {called}' if report.masks else '')
        + f', {report.harmful} harmful findings, {notes} worth knowing'
        + (f' ({command} lists them)' if report.findings else '')
    )
    harm = [finding for finding in report.findings if finding.harmful]
    if harm and all(finding.kind in _LEFT_OUT for finding in harm):
        say(f'{len(harm)} objects of no size, which training leaves out')
    elif harm and not force:
        first = next(finding for finding in harm if finding.kind not in _LEFT_OUT)
        said = f'{first.path}: {first.detail}'.removesuffix(': ')
        raise UserError(
            f'the data have {report.harmful} harmful findings, the first: [{first.kind}] {said}; '
            f'{command} lists all with what to do, --force trains nevertheless'
        )


def _read_plan(
    folder: Path, wishes: Wishes, fingerprints: dict[str, str]
) -> dict[str, Any] | None:
    """What an earlier start in the folder decided, for the same data and choices."""
    place = folder / _PLAN
    if not place.is_file():
        return None
    kept = json.loads(place.read_text())
    if not (folder / f'seed{kept["wishes"]["seed"]}').exists() and (
        kept['fingerprints'] != fingerprints or same_choices(kept['wishes'], wishes)
    ):
        return None  # of a dry run: nothing was trained
    if kept['fingerprints'] != fingerprints:
        raise UserError(f'{folder} is of other data, or they changed: give another --out DIR')
    if other := same_choices(kept['wishes'], wishes):
        raise UserError(
            f'{folder} was begun with another {", ".join(other)} '
            f'({", ".join(str(kept["wishes"][name]) for name in other)}): give the same to go on, '
            'or another --out DIR'
        )
    return kept


def _write_plan(folder: Path, plan: Plan, trial: Trial) -> None:
    content = {
        'wishes': plan.wishes.plain(),
        'fingerprints': plan.data.fingerprints,
        'scale': plan.scale,
        'trial': asdict(trial),
    }
    write_text(folder / _PLAN, json.dumps(content, indent=1))


def _write_configs(plan: Plan, folder: Path) -> Iterator[str]:
    """The configs of the runs, and a line for each with its command.

    Raises:
        UserError: if one is there that says something else: somebody may have edited it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for step in plan.steps():
        if step.file:
            yield train_command(step, plan.wishes.seed, Path('work_dirs'), HERE)
            continue
        place = folder / f'{step.name}.py'
        text = config_over(find_config(step.config), step.options)
        if place.is_file() and place.read_text() != text:
            raise UserError(
                f'--plain-config {folder}: {place.name} is there and says something else, edited '
                'perhaps: give another folder, or leave the option out'
            )
        write_text(place, text)
        yield shlex.join(['python', 'tools/train.py', str(place), '--seed', str(plan.wishes.seed)])


def _train(
    plan: Plan, folder: Path, jobs: int, command: str, say: Say, bars: Bars | None
) -> Made:
    results = run_suite(
        plan.suite, plan.suite.rows, plan.suite.seeds, folder, jobs=jobs, say=say,
        command=command, data=plan.data, bars=bars,
    )  # fmt: skip
    failed = [row for row in results['rows'] if 'error' in row]
    if failed:
        raise RunError(f'{failed[0]["method"]}: {failed[0]["error"]}')
    runs = folder / f'seed{plan.wishes.seed}'
    for place in (runs, folder / 'trial' / runs.name):  # no run needs the answers any more
        shutil.rmtree(place / FOLDER, ignore_errors=True)
    draw_pictures(plan.suite, plan.suite.rows, runs, folder / 'pictures', say)
    figures = [_figures(row) for row in results['rows']]
    for row, figure in zip(results['rows'], figures, strict=True):
        row['milliseconds'] = round(figure.milliseconds, 2)
    write_text(folder / 'results.json', json.dumps(results, indent=2))
    report = folder / 'report.html'
    write_text(report, render(results, folder))
    table = text_table(summarise(results['rows'], results['suite'])).splitlines()
    for line in (*table, *(figure.line() for figure in figures), *_doubts(results['rows'])):
        say(line)
    weights, files = _deliver(plan, results['rows'], figures, folder / 'student', command, say)
    return Made(folder, weights, tuple(files), report, tuple(results['rows']))


def _doubts(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What a reader has to know before the student is used, of a teacher that learned nothing."""
    for row in rows:
        known = known_metric(row['checkpoint']) if row['method'] == 'teacher' else None
        if known and known.near_chance:
            yield (
                f'note: {known.too_little()}; the student cannot have learned from it: add images, '
                'give more time (--time-budget, --epochs), or a network that knows the task '
                '(--teacher)'
            )


def _command(wishes: Wishes, force: bool) -> str:
    words = ['g2sd', 'distill', wishes.data]
    for name in ('teacher', 'student', 'task'):
        words += [f'--{name}', value] if (value := getattr(wishes, name)) else []
    words += ['--epochs', f'{wishes.epochs:g}'] if wishes.epochs else []
    words += ['--time-budget', f'{wishes.seconds:g}s'] if wishes.seconds else []
    words += [] if wishes.twin else ['--no-twin']
    words += ['--force'] if force else []
    words += wishes.choices.words()
    return shlex.join([*words, '--seed', str(wishes.seed)])


def _figures(row: dict[str, Any]) -> Figures:
    """What one network is worth, how large it is and how long an image takes it."""
    weights = Path(row['checkpoint'])
    student, metric = load_student(weights), judged_by(row)
    return Figures(
        row['method'], metric, row['metrics'][metric], row['params_m'],
        weights.stat().st_size / 1e6, _milliseconds(student),
    )  # fmt: skip


def _milliseconds(student: Student) -> float:
    """Median time of a prediction of one image of the training's size, on this machine's CPU."""
    height, width = height_and_width(student.image_size or 224)
    pixels = torch.zeros(height, width, student.in_channels, dtype=torch.uint8).numpy()
    times = []
    for _ in range(_TIMED + 2):
        began = time.perf_counter()
        student.predict(pixels)
        times.append(time.perf_counter() - began)
    return statistics.median(times[2:]) * 1e3


def _deliver(
    plan: Plan, rows: list[dict[str, Any]], figures: list[Figures], folder: Path, command: str,
    say: Say,
) -> tuple[Path, list[Path]]:
    """The student's folder: weights, ONNX, card."""
    folder.mkdir(parents=True, exist_ok=True)
    trained = Path(next(row['checkpoint'] for row in rows if row['method'] == 'g2sd'))
    weights = folder / 'weights.pth'
    for ending in ('.pth', '.json'):
        shutil.copyfile(trained.with_suffix(ending), weights.with_suffix(ending))
    files, notes = [weights], []
    student = load_student(weights)
    target = folder / 'student.onnx'
    try:
        exported = export_student(student, target, 'onnx')
        files.append(target)
        if exported.left_out:
            notes.append(exported.left_out)
    except Exception as error:  # the student is there, whatever becomes of its copy
        notes.append(f'no ONNX file was written: {account_of(error).line}')
    for note in notes:
        say(f'note: {note}')
    files.append(write_card(plan, student, figures, files, folder / 'README.md', command))
    return weights, files
