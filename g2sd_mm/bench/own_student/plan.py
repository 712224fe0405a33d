"""What is trained for a folder of one's own data, how long, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ...data_layouts import Choices
from ...errors import DataError, UserError
from ...image_files import is_image
from ...tasks import TASKS
from ..suites.budget import (
    Work,
    length_options,
    raw_config,
    refuse_too_few,
    step_work,
    train_root,
    work_of,
)
from ..suites.catalogue import MINI
from ..suites.data import OwnData, find_data
from ..suites.suites import Step, Suite
from .given import Networks, choose_networks
from .kept_answers import kept_answers, size_of, views_of
from .networks import FROM_ENCODER, PATCH, PRE_TRAINING, STAGE_1, use_networks

#: Passes over the images at most: beyond that a small data set is learnt by heart.
MOST_PASSES = {'without labels': 800, 'with labels': 200}
#: The rows that are trained: the student, what it is compared with, and its teacher.
TWIN = 'g2sd_nosd'
_METHODS = ('teacher', TWIN, 'g2sd')
_SEED = 0
_SLICED = (
    'start: the student starts as a slice of its teacher, which is as deep, with heads as wide, so '
    'it needs no stage 1'
)


@dataclass(frozen=True)
class Wishes:
    """What a person asks for; None leaves the choice to the plan.

    Attributes:
        data: folder, laid out as one of :data:`~g2sd_mm.data_layouts.LAYOUTS`.
        task: cls, det, seg or depth, which the folder has to be of.
        epochs: passes of the student's fine-tuning over the training images; the other runs get as
            many more or fewer.
        seconds: that all training may take.
        twin: whether the student is also fine-tuned without its teacher, to compare with.
        seed: of all runs.
        student, teacher: see :func:`~.given.choose_networks`.
        choices: where the folder can be read in two ways, and what is held out.
    """

    data: str
    task: str | None = None
    epochs: float | None = None
    seconds: float | None = None
    twin: bool = True
    seed: int = _SEED
    student: str | None = None
    teacher: str | None = None
    choices: Choices = field(default_factory=Choices)

    def __post_init__(self) -> None:
        for option, value in {'epochs': self.epochs, 'time-budget': self.seconds}.items():
            if value is not None and not value > 0:
                raise UserError(f'--{option} {value:g} is not above 0')

    def plain(self) -> dict[str, Any]:
        """For JSON, and to compare with another start; the folder's place does not matter."""
        return {name: value for name, value in asdict(self).items() if name != 'data'}


@dataclass(frozen=True)
class Plan:
    """Runs on own data.

    Attributes:
        suite: with the runs as steps and the table rows as rows, the teacher's first.
        scale: length of the runs, 1 for that of the mini suite.
        networks: that are trained.
        reasons: one line for each choice.
    """

    wishes: Wishes
    data: OwnData
    suite: Suite
    networks: Networks
    scale: float = 1.0
    reasons: tuple[str, ...] = field(default=())

    @property
    def task(self) -> str:
        """cls, det, seg or depth."""
        return self.data.tasks[0]

    def steps(self) -> list[Step]:
        """The runs, in an order that can be run."""
        return list(self.suite.steps_of(self.suite.rows))


def look_at(wishes: Wishes) -> OwnData:
    """The data that are meant.

    Raises:
        UserError: if the folder is not laid out as data, or is of another task.
    """
    if wishes.task and wishes.task not in TASKS:
        raise UserError(f'--task {wishes.task}: there are {", ".join(TASKS)}')
    folder = Path(wishes.data)
    if not folder.is_dir():
        _refuse_no_data(folder)
    try:
        data = find_data([wishes.data], wishes.choices, wishes.task)
    except DataError as error:
        if 'none of' in str(error):
            _refuse_no_data(folder)
        raise
    (task,) = data.tasks
    if wishes.task and wishes.task != task:
        raise UserError(
            f'--task {wishes.task}: {wishes.data} is laid out for {task} '
            f'({TASKS[task].name}); leave --task out, or give a folder of that task'
        )
    return data


def _refuse_no_data(folder: Path) -> None:
    """What is no folder of data in any layout, with what to do."""
    how = 'put images into train/<class>/ and val/<class>/, or see docs/distill.md for other data'
    if not folder.is_dir():
        what = 'is a file' if folder.exists() else 'is not there'
        raise UserError(f'{folder} {what}: give the folder of your images and labels')
    files = [path.name for path in folder.iterdir()]
    if not files:
        raise UserError(f'{folder} is empty: {how}')
    if not any(path.is_dir() for path in folder.iterdir()):
        number = sum(map(is_image, files))
        raise UserError(f'{folder} has {number} images and no folders, so no labels: {how}')


def make_plan(
    wishes: Wishes, data: OwnData, scale: float | None = None, networks: Networks | None = None
) -> Plan:
    """The runs for these data, fitted in length to the data and to what is asked for.

    Args:
        wishes: what is asked for; ``seconds`` is for :func:`~.trial.fit_to_time`.
        data: from :func:`look_at`.
        scale: length of all runs, where it is known already.
        networks: where they are chosen already.

    Raises:
        UserError: if there are too few images for a single update.
    """
    task = data.tasks[0]
    networks = networks or choose_networks(wishes.student, wishes.teacher, task)
    suite = use_networks(data.apply(MINI), networks, task)
    main = {row.method: row for row in suite.rows if row.table == 'main'}
    rows = [main[method] for method in _METHODS if method != TWIN or wishes.twin]
    suite = replace(
        suite, name='distill', rows=tuple(rows), seeds=(wishes.seed,), record=None, recipe='',
        note='',
    )  # fmt: skip
    try:
        refuse_too_few(suite, rows, data)
    except UserError as error:
        raise UserError(f'{error}: add images, a hundred of a class are a beginning') from error
    reasons = [
        f'task {TASKS[task].name}: how {wishes.data} is laid out', *networks.reasons,
        *([_SLICED] if networks.sliceable else []), *_images(suite.step(rows[-1].step)),
        *data.notes,
    ]
    student, wanted = rows[-1].step, 1.0
    if wishes.epochs:
        images, usual = _usual(suite.step(student), data)
        wanted = wishes.epochs * images / usual.seen
    scale = wanted if scale is None else scale
    steps: list[Step] = []
    limited: dict[str, None] = {}
    for step in suite.steps_of(rows):
        if not step.file:
            step, limit = _fitted(step, data, scale)
            limited |= dict.fromkeys(limit)
        steps.append(step)
    suite = replace(suite, steps=tuple(steps))
    if wishes.epochs and (scale < 0.99 * wanted or not limited):
        epochs = step_work(suite.step(student), data)[0].passes or 0.0
        why = ', the least that a run has' if epochs > 1.1 * wishes.epochs else ''
        why = ', to fit the time' if scale < 0.99 * wanted else why
        reasons.append(
            f'length: {epochs:.3g} epochs of fine-tuning for the {wishes.epochs:g} asked for{why}'
        )
    elif limited:
        reasons.append(
            f'length: {" and ".join(limited)} at most, so that a small data set is not learnt by '
            'heart'
        )
    else:
        reasons.append(
            f'length: {scale:.2g} times the updates of the mini suite, whatever the number of '
            'images'
        )
    return Plan(wishes, data, suite, networks, scale, tuple(reasons))


def _images(student: Step) -> Iterator[str]:
    """What the student sees, and how much of it at once."""
    last = raw_config(student.config, student.options)
    size, patch = last.model.backbone.get('img_size'), PATCH
    if isinstance(size, int):
        yield (
            f'images of {size} px, {size // patch} x {size // patch} patches of {patch} px, in '
            f'batches of {last.train_dataloader.batch_size}: as the mini suite, whose recipes '
            'were made for so many'
        )


def _usual(step: Step, data: OwnData) -> tuple[int, Work]:
    """Images of the own data, and a run at the length that its config has on the generated data."""
    # at the length of its recipe: folders are those of the generated data
    length = {key: step.options[key] for key in step.options if key.startswith('train_cfg.')}
    own = raw_config(step.config, step.options)
    return data.size(train_root(own)) or 0, work_of(raw_config(step.config, length))


def _fitted(step: Step, data: OwnData, scale: float) -> tuple[Step, list[str]]:
    """The step at this length, and what it is limited by."""
    images, usual = _usual(step, data)
    cfg = raw_config(step.config, step.options)
    kind = 'with labels' if cfg.get('val_dataloader') else 'without labels'
    most = MOST_PASSES[kind] * images
    seen, limited = usual.seen * scale, []
    if seen > most:
        seen = most
        limited.append(f'{MOST_PASSES[kind]} passes over {images:,} images {kind}')
    options = dict(step.options)
    if 'max_epochs' in cfg.train_cfg:
        # the loader drops what is left over at the end of an epoch
        length = max(1, round(seen / (images // usual.step * usual.step)))
    else:
        length = max(10, round(seen / usual.step))
        options['default_hooks.checkpoint.interval'] = max(1, length // 4)
    warmup = cfg.param_scheduler[0].get('warmup', 0)
    options['param_scheduler.0.warmup'] = min(warmup, length // 5)
    options |= length_options(cfg, length)
    cfg = raw_config(step.config, options)
    options |= kept_answers(cfg, work_of(cfg, images))
    return replace(step, options=options), limited


def describe(plan: Plan) -> Iterator[str]:
    """The choices with their reasons, and what each run does."""
    yield from plan.reasons
    for step in plan.steps():
        if step.file:
            yield f'{role_of(plan, step.name)}: {step.file}, as it is'
            continue
        work, _ = step_work(step, plan.data)
        passes = f'{work.passes:.3g} passes over {work.images:,} images' if work.passes else ''
        yield (
            f'{role_of(plan, step.name)}: {passes}, {work.updates:,.0f} updates of {work.batch}'
            + _kept(step, plan.data)
        )


def _kept(step: Step, data: OwnData) -> str:
    if not (views := views_of(step)):
        return ''
    return (
        f"; {views} views of an image, and the teacher's answers to them on disk "
        f'({size_of(step, data) / 1e9:.2f} GB until the end)'
    )


def role_of(plan: Plan, name: str) -> str:
    """What a run is for, in words."""
    ends = {row.step: row.method for row in plan.suite.rows}
    whose = 'plain twin' if plan.networks.sliceable else 'student'
    roles = {
        PRE_TRAINING: 'pre-training of the teacher, without labels',
        FROM_ENCODER: 'stage 1 of the larger network, without labels',
        STAGE_1: f'stage 1 of the {whose}, without labels',
    }
    of_rows = {
        'teacher': 'fine-tuning of the teacher',
        TWIN: 'plain twin: the student fine-tuned without its teacher',
        'g2sd': 'stage 2: the student fine-tuned beside its teacher',
    }
    return of_rows[ends[name]] if name in ends else roles.get(name, name)


def seconds_of(text: str) -> float:
    """``2h``, ``90m``, ``45 min`` or a number of seconds.

    Raises:
        UserError: for anything else.
    """
    units = {'h': 3600.0, 'm': 60.0, 'min': 60.0, 's': 1.0, '': 1.0}
    number = text.strip().rstrip('hmins ').strip()
    unit = text.strip()[len(number) :].strip()
    try:
        return float(number) * units[unit]
    except (ValueError, KeyError):
        raise UserError(f'--time-budget {text}: write 2h, 90m or 5400s') from None


def same_choices(kept: Mapping[str, Any], wishes: Wishes) -> Sequence[str]:
    """Names of what was asked for otherwise than in a plan that is kept."""
    now = wishes.plain()
    kept = {'choices': Choices().plain(), **kept}  # plans that were begun before there were any
    return [name for name in now if kept.get(name) != now[name]]
