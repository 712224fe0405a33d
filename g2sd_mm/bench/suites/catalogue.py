"""All suites by name: the demo, mini, the league and the paper's.

The demo is short runs on Shapes; mini is the main tables, and depth, at a size for two CPU cores,
on Shapes or on data of one's own; the league is mini with all other systems.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...tasks import TASKS
from ..results import BASELINES, CHEAPER
from . import baselines
from .paper import PAPER
from .suites import PAPER_TASKS, Row, Step, Suite, heads, single_stage

_SHAPES = 'configs/shapes/'
_MINI = 'configs/mini/'
_HEADS = {**heads(), 'depth': TASKS['depth'].head}


def _validated_once(key: str, number: int, rate: float | None = None) -> dict[str, Any]:
    """Options of a run of so many epochs or updates, with a learning rate of its own."""
    faster = {} if rate is None else {'optim_wrapper.optimizer.lr': rate}
    return {f'train_cfg.{key}': number, 'train_cfg.val_interval': number, **faster}


#: The demo's students, ten minutes of two cores in all: task -> schedule of each of its rows.
_BRIEF = {
    'cls': _validated_once('max_epochs', 6, 4e-3),
    'det': _validated_once('max_iters', 100, 2e-3),
    'seg': _validated_once('max_iters', 300, 4e-3),
    'depth': _validated_once('max_iters', 160, 3e-3),
}
# In six epochs random weights come to 45 % top-1 at this rate, and to 22 % at the others'.
_FROM_NOTHING = {'cls': _validated_once('max_epochs', 6, 2e-3)}


def _teacher(name: str, needs: tuple[str, ...] = ()) -> Step:
    """A teacher of the demo, which is given: that of the mini suite."""
    return Step(
        f'{_MINI}{name}.py', needs=needs, given=f'{name}.safetensors',
        origin='the teacher of the mini suite',
    )  # fmt: skip


def _demo_steps() -> Iterator[Step]:
    generic = 'g2sd_vits_generic'
    yield _teacher('vitb_mae')
    yield Step(f'{_SHAPES}{generic}.py', needs=('vitb_mae',), options={'train_cfg.max_epochs': 10})
    for task, head in _HEADS.items():
        yield _teacher(f'vitb_{head}', needs=('vitb_mae',))
        brief = _BRIEF[task]
        alone = _FROM_NOTHING.get(task, brief)
        yield Step(f'{_SHAPES}vits_scratch_{head}.py', options=alone)
        yield Step(f'{_SHAPES}g2sd_vits_{head}_nosd.py', needs=(generic,), options=brief)
        taught = (generic, f'vitb_{head}')
        yield Step(f'{_SHAPES}g2sd_vits_{head}.py', needs=taught, options=brief)


def _demo_rows() -> Iterator[Row]:
    for task, head in _HEADS.items():
        yield Row(task, 'teacher', f'vitb_{head}')
        yield Row(task, 'scratch', f'vits_scratch_{head}')
        yield Row(task, 'g2sd_nosd', f'g2sd_vits_{head}_nosd')
        yield Row(task, 'g2sd', f'g2sd_vits_{head}')


DEMO = Suite(
    name='demo',
    steps=tuple(_demo_steps()),
    rows=tuple(_demo_rows()),
    given=f'{_SHAPES}teachers',
    recipe=(
        'Stage 2 is not the one in the paper. In classification all students predict from the mean '
        "of their patches, and learn by NKD and a regression of the teacher's last tokens; in the "
        "other tasks the student's head starts as the teacher's as far as both are alike. All "
        'students of a task train equally long, far too short for heads of random weights: longer '
        'runs are in docs/results/mini.'
    ),
)

_TEST_DATA = 'configs/shapes_test/'  # larger than what the runs validate on: see cls.py
# A tenth of the labels: 100 epochs of 400 images are 600 updates, of the 1,240 of all labels.
# The teacher is the one of all labels.
_TENTH = {
    'train_dataloader.dataset.every': 10,
    'train_cfg.max_epochs': 100,
    'train_cfg.val_interval': 100,
}


def _steps() -> Iterator[Step]:
    generic = 'g2sd_vits_generic'
    yield Step(_MINI + 'vitb_mae.py')
    yield Step(_MINI + f'{generic}.py', needs=('vitb_mae',))
    yield Step(_MINI + 'vits_mae.py')
    for task, head in _HEADS.items():
        teacher = f'vitb_{head}'
        yield Step(_MINI + f'{teacher}.py', needs=('vitb_mae',))
        yield Step(_MINI + f'vits_scratch_{head}.py')
        yield Step(_MINI + f'vits_mae_{head}.py', needs=('vits_mae',))
        single = single_stage('vits', task)
        yield Step(_MINI + f'{single}.py', needs=(teacher,))
        yield Step(_MINI + f'g2sd_vits_{head}_nosd.py', needs=(generic,))
        yield Step(_MINI + f'g2sd_vits_{head}.py', needs=(generic, teacher))


def _rows() -> Iterator[Row]:
    for task, head in _HEADS.items():
        for method, step in (
            ('teacher', f'vitb_{head}'),
            ('scratch', f'vits_scratch_{head}'),
            ('mae_student', f'vits_mae_{head}'),
            ('single_stage', single_stage('vits', task)),
            ('g2sd_nosd', f'g2sd_vits_{head}_nosd'),
            ('g2sd', f'g2sd_vits_{head}'),
        ):
            yield Row(task, method, step, data=f'{_TEST_DATA}{task}.py')


def _plain(task: str) -> str:
    """The config of plain fine-tuning on a task."""
    return f'{_MINI}g2sd_vits_{_HEADS[task]}_nosd.py'


_MAIN = tuple(_rows())
# What pre-training and stage 1 alone are worth, from the mean of the patches, at the size that all
# see. Three quarters of what a masked network learned from were hidden: nothing is hidden here.
_FROZEN = tuple(
    Row('cls', method, step, 'probe', 'frozen', f'{_MINI}vits_scratch_cls.py', 'knn_top1',
        probe=('--probes', 'knn', 'linear', '--token', 'mean', '--size', '56'))
    for method, step in (
        ('teacher', 'vitb_mae'), ('mae_student', 'vits_mae'), ('g2sd', 'g2sd_vits_generic'))
)  # fmt: skip
#: Beyond the paper: the student starts as a slice of its teacher, and its head as the teacher's.
_PLUS = {task: f'g2sd_plus_vits_{head}' for task, head in heads().items()}
_BASELINES = tuple(
    replace(row, data=f'{_TEST_DATA}{row.task}.py')
    for row in (
        *baselines.rows(('deit_mae',)),
        *(Row(task, 'g2sd_plus', step, table=BASELINES) for task, step in _PLUS.items()),
    )
)
# classification is the task whose labels are dealt out by images
_FEW = tuple(row for row in _MAIN if row.task == 'cls' and row.method != 'teacher')
_FEW_STEPS = {row.step for row in _FEW}

MINI = Suite(
    name='mini',
    steps=(
        *_steps(),
        *(
            replace(step, options=_TENTH, label=f'{step.name}_labels10')
            for step in _steps()
            if step.name in _FEW_STEPS
        ),
        *baselines.steps(_MINI, _plain, ('deit_mae',)),
        *(
            Step(f'{_MINI}{name}.py', needs=(f'vitb_{_HEADS[task]}',))
            for task, name in _PLUS.items()
        ),
    ),
    rows=(
        *_MAIN,
        *(
            replace(row, step=f'{row.step}_labels10', table='labels', setting='10 %')
            for row in _FEW
        ),
        *_BASELINES,
        *_FROZEN,
    ),
    seeds=(0, 1, 2),
    on_request=('depth',),
    tables_on_request=(BASELINES, 'probe'),
    record='docs/results/mini',
    recipe=(
        'In this suite all students of classification predict from the mean of their patches, none '
        'has a dist token, their teacher learns plain labels, and stage 2 is NKD, with the labels '
        "in its loss, and a regression of the teacher's last tokens, which is not in the paper: "
        'docs/results/mini/README.md says why, and what seed 0 had to do with the choice.'
    ),
    tested=(
        'Tested on 10,000 generated images (classification) and 1,000 generated scenes (detection, '
        'segmentation, depth), configs/shapes_test. No run was trained on them; along the way runs '
        'validate on the first 1,000 and 200 of them, and the last weights count, not the best.'
    ),
)


# The league ---------------------------------------------------------------------------------------

# The mini suite's rows and baselines from one set of teachers. All of the mini suite's baselines
# would take a day of two cores. Here stage 1 and pre-training are a third as long, detection and
# segmentation too, classification half, and the teachers are given: what a seed then changes is the
# student alone. The table ``cheaper`` has G2SD with less arithmetic, in classification;
# docs/performance.md says what each row is.

#: Task -> schedule of each of its rows; '' -> of each run without labels.
_LONG: dict[str, tuple[str, int]] = {
    '': ('max_epochs', 20),
    'cls': ('max_epochs', 10),
    'det': ('max_iters', 500),
    'seg': ('max_iters', 1300),
}
#: Runs that are parts of a row, or teach one: 7 + 3 are the 10 epochs of the other rows.
_PARTS = {
    'regnety_cls': ('cls', 20),
    'vits_tinybert_task': ('cls', 7),
    'vits_tinybert_cls': ('cls', 3),
}

_GENERIC, _CLS = 'g2sd_vits_generic', 'g2sd_vits_cls'


@dataclass(frozen=True)
class _Way:
    """A row with less arithmetic, and its runs, the last one of them the row's."""

    setting: str
    steps: tuple[Step, ...]
    method: str = 'g2sd'


def _cheaper() -> Iterator[_Way]:
    """The rows of the table."""

    def first(label: str, config: str = _GENERIC, **options: Any) -> Step:
        return Step(
            f'configs/mini/{config}.py', needs=('vitb_mae',), label=f'{_GENERIC}_{label}',
            options={**_schedule(_GENERIC, ''), **_dotted(options)},
        )  # fmt: skip

    def then(label: str, start: str, config: str = _CLS, **options: Any) -> Step:
        loaded = {'model.backbone.init_cfg.checkpoint': f'work_dirs/{start}/weights.pth'}
        return Step(
            f'configs/mini/{config}.py', needs=(start, 'vitb_cls'), label=f'{_CLS}_{label}',
            options={**loaded, **_schedule(_CLS, 'cls'), **_dotted(options)},
        )  # fmt: skip

    half = first('half', train_cfg__max_epochs=_LONG[''][1] // 2)
    yield _Way('half of stage 1', (half, then('half', half.name)))
    fitted = then('fitted', _GENERIC, distillation__fitted=dict(images=256))
    yield _Way('fitted adapter', (fitted,))
    patches = then('patches', _GENERIC, distillation__teacher_patches__share=0.5)
    yield _Way('teacher of half the patches', (patches,))
    for dtype in ('bfloat16', 'int8'):
        stage = first(dtype, distillation__teacher__dtype=dtype)
        last = then(dtype, stage.name, distillation__teacher__dtype=dtype)
        yield _Way(f'{dtype} teacher', (stage, last))
    cross = first('cross', f'{_GENERIC}_cross')
    yield _Way('cross-attention decoder', (cross, then('cross', cross.name)))
    low = Step(
        f'configs/shapes/{_GENERIC}_32.py', needs=('vitb_mae',), label=f'{_GENERIC}_low',
        options={'train_cfg.max_epochs': 17},
    )  # fmt: skip
    finish = Step(
        f'configs/shapes/{_GENERIC}_32_finish.py', needs=(low.name, 'vitb_mae'),
        label=f'{_GENERIC}_low_finish',
        options={'load_from': f'work_dirs/{low.name}/epoch_17.pth', 'train_cfg.max_epochs': 3},
    )  # fmt: skip
    yield _Way('low resolution first', (low, finish, then('low', finish.name)))
    kept = first('answers', f'{_GENERIC}_answers')
    last = then('answers', kept.name, f'{_CLS}_answers')
    yield _Way('four views, answers on disk', (kept, last))
    fast = Step(
        'configs/mini/g2sd_plus_vits_cls.py', needs=('vitb_cls',), label='g2sd_plus_vits_cls_fast',
        options={key: value // 2 for key, value in _schedule(_CLS, 'cls').items()},
    )  # fmt: skip
    yield _Way('fast', (fast,), 'g2sd_plus')


def _dotted(options: dict[str, Any]) -> dict[str, Any]:
    return {name.replace('__', '.'): value for name, value in options.items()}


def _schedule(name: str, task: str) -> dict[str, Any]:
    kind, number = _PARTS.get(name, (task, 0))
    key, usual = _LONG[kind]
    long = number or usual
    return {
        f'train_cfg.{key}': long,
        **({'train_cfg.val_interval': long} if kind and name != 'vits_tinybert_task' else {}),
    }


_COMPARED = tuple(
    row
    for row in MINI.rows
    if row.task in PAPER_TASKS and row.table in ('main', BASELINES) and not row.probe
)
_TASKS = {row.step: row.task for row in _COMPARED}
_CHEAPER = tuple(_cheaper())


def _league_steps() -> Iterator[Step]:
    given = {step.name: step for step in DEMO.steps if step.given}
    needed = {step.name for step in MINI.steps_of(_COMPARED)}
    for step in (step for step in MINI.steps if step.name in needed):
        if step.name in given:
            yield given[step.name]
        else:
            options = {**step.options, **_schedule(step.name, _TASKS.get(step.name, ''))}
            yield replace(step, options=options)
    for way in _CHEAPER:
        yield from way.steps


LEAGUE = Suite(
    name='league',
    steps=tuple(_league_steps()),
    rows=(
        *_COMPARED,
        *(
            Row('cls', way.method, way.steps[-1].name, CHEAPER, way.setting, f'{_TEST_DATA}cls.py')
            for way in _CHEAPER
        ),
    ),
    tables_on_request=(CHEAPER,),
    seeds=(0, 1, 2),
    given=DEMO.given,
    record='docs/results/mini/league',
    recipe=(
        'All rows are those of the mini suite, shorter: 20 epochs without labels (there 60), 10 of '
        'classification (20), 500 updates of detection (1,500), 1,300 of segmentation (4,000). '
        'Their teachers are given, the same for all seeds: those of seed 0 of the mini suite; '
        "RegNetY, DeiT's, is trained for 20 epochs."
    ),
    tested=MINI.tested,
)

SUITES = {suite.name: suite for suite in (DEMO, MINI, LEAGUE, PAPER)}


def suite_of(name: str, file: Path) -> Suite:
    """The suite that a file says it is of.

    Raises:
        UserError: if there is none of that name.
    """
    if name not in SUITES:
        raise UserError(f'{file} is of the suite {name!r}: this version has {", ".join(SUITES)}')
    return SUITES[name]
