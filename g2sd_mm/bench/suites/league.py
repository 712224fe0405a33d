"""The league: the mini suite's rows and baselines, a third as long, from one set of teachers.

All of the mini suite's baselines would take a day of two cores. Here stage 1 and pre-training are a
third as long, detection and segmentation too, classification half, and the teachers are given: what
a seed then changes is the student alone.

Its table ``cheaper`` has G2SD with less arithmetic, in classification; docs/performance.md says
what each row is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..results import BASELINES, CHEAPER
from .suites import PAPER_TASKS, Row, Step, Suite

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


def league_of(mini: Suite, given: str, teachers: dict[str, Step]) -> Suite:
    """The league of a suite with baselines.

    Args:
        mini: whose configs, rows and test data are taken.
        given: folder of the project with its teachers' files.
        teachers: name of such a teacher's run -> step that the file stands in for.
    """
    rows = tuple(
        row
        for row in mini.rows
        if row.task in PAPER_TASKS and row.table in ('main', BASELINES) and not row.probe
    )
    cheaper = tuple(_cheaper())
    tasks = {row.step: row.task for row in rows}
    tested = {row.task: row.data for row in rows}
    needed = {step.name for step in mini.steps_of(rows)}

    def steps() -> Iterator[Step]:
        for step in mini.steps:
            if step.name not in needed:
                continue
            if step.name in teachers:
                yield teachers[step.name]
            else:
                options = {**step.options, **_schedule(step.name, tasks.get(step.name, ''))}
                yield replace(step, options=options)
        for way in cheaper:
            yield from way.steps

    return Suite(
        name='league',
        steps=tuple(steps()),
        rows=(
            *rows,
            *(
                Row('cls', way.method, way.steps[-1].name, CHEAPER, way.setting, tested['cls'])
                for way in cheaper
            ),
        ),
        tables_on_request=(CHEAPER,),
        seeds=(0, 1, 2),
        given=given,
        record='docs/results/mini/league',
        recipe=(
            'All rows are those of the mini suite, shorter: 20 epochs without labels (there 60), '
            '10 of classification (20), 500 updates of detection (1,500), 1,300 of segmentation '
            '(4,000). Their teachers are given, the same for all seeds: those of seed 0 of the '
            "mini suite; RegNetY, DeiT's, is trained for 20 epochs."
        ),
        tested=mini.tested,
    )


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
