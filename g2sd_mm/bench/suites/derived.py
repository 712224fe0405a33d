"""Suites made from a suite: with rows of a reader's, or with runs of a few updates.

A config that is added says by itself what a suite has to know: the weights that it loads are the
runs that it needs, its scope is its task, its network tells with which rows it can be compared. A
few updates tell whether a suite works on these data, before hours go into it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...tasks import TASKS, task_of
from .. import methods
from .budget import length_options, raw_config, runs_loaded
from .suites import Row, Step, Suite

UPDATES = 2  # of each run
IMAGES = 16  # of the validation set that each run is judged by, the first ones
_SMOKE = (
    f'A smoke run: {UPDATES} updates a run, judged by {IMAGES} validation images at most. '
    'It shows that everything runs; its figures mean nothing.'
)


def with_custom_rows(suite: Suite, configs: Sequence[str]) -> Suite:
    """The suite with a run for each config, and a row for each that is evaluated.

    A config without evaluation (of stage 1, say) is a run for the configs behind it. Rows are named
    by their files and tested on what the task's other rows are tested on. Nothing of the suite goes
    into its record any more: a record has the rows of its suite alone.

    Args:
        configs: paths, each behind those whose weights it loads.

    Raises:
        UserError: for a name that a run or a row has already, weights that no run before it
            leaves, or a config that the suite has no task for.
    """
    for path in configs:
        suite = _with(suite, path)
    known = {*methods.METHODS, *(row.method for row in suite.rows)}
    for name, row in suite.methods.items():
        if unknown := sorted({*row['claims']} - known):
            raise UserError(f'row {name} claims to beat {", ".join(unknown)}, which is no row')
    return replace(suite, keeps=False)


def refuse_left_out(suite: Suite, rows: Sequence[Row], configs: Sequence[str]) -> None:
    """Stop before a config that was added is not run, without a word.

    Raises:
        UserError: naming the first one that none of the rows needs.
    """
    run = {step.name for step in suite.steps_of(rows)}
    for path in configs:
        if Path(path).stem not in run:
            raise UserError(
                f'--add {path}: no row that is asked for trains it; name its row, task and table '
                'too, or add the config that is evaluated and loads it'
            )


def _with(suite: Suite, path: str) -> Suite:
    cfg, name = raw_config(path), Path(path).stem
    shown = cfg.get('row') or {}
    if not isinstance(shown, dict) or not isinstance(shown.get('name', name), str):
        raise UserError(f'--add {path}: row is {shown!r}, not dict(name=...) with a text')
    taken = {step.name: 'run' for step in suite.steps} | {row.method: 'row' for row in suite.rows}
    called = shown.get('name', name)
    for known, cure in ((name, 'rename the file'), (called, 'give another row.name')):
        if known in taken:
            raise UserError(f'--add {path}: there is a {taken[known]} {known} already; {cure}')
    if not cfg.get('auto_scale_lr'):
        raise UserError(
            f'--add {path}: auto_scale_lr.base_batch_size, the images of a step, is not there'
        )
    main = _main_row(suite, path, cfg)
    amp = suite.step(main.step).amp
    step = Step(path, needs=tuple(_needs(suite, path, cfg)), amp=amp)
    suite = replace(suite, steps=(*suite.steps, step))
    if not cfg.get('val_evaluator'):
        return suite
    method = methods.add(called, shown)
    row = Row(main.task, method.name, name, data=main.data, network=_network(suite, cfg))
    described = {**suite.methods, method.name: methods.as_values(method)}
    return replace(suite, rows=(*suite.rows, row), methods=described)


def _main_row(suite: Suite, path: str, cfg: Any) -> Row:
    """G2SD's own row of the config's task."""
    task = task_of(cfg.get('default_scope'), cfg.get('model'))
    for row in suite.rows:
        if (row.task, row.method, row.table) == (task.key if task else '', 'g2sd', 'main'):
            return row
    raise UserError(
        f'--add {path}: default_scope is {cfg.get("default_scope")!r}, and the tasks of the '
        f'{suite.name} suite have {", ".join(task.scope for task in TASKS.values())}'
    )


def _needs(suite: Suite, path: str, cfg: Any) -> Iterator[str]:
    """The runs whose weights a config loads."""
    known = [step.name for step in suite.steps]
    for name in runs_loaded(cfg.to_dict()):
        if name not in known:
            raise UserError(
                f'--add {path} loads work_dirs/{name}/, which no run leaves: give the config that '
                f'trains it before this one, or load one of {", ".join(known)}'
            )
        yield name


def _network(suite: Suite, cfg: Any) -> str:
    """``vits``, ... if a row of the suite trains the same architecture, else its own name."""
    arch = _architecture(cfg)
    for row in suite.rows:
        if _architecture(raw_config(suite.step(row.step).config)) == arch:
            return row.student
    return arch


def _architecture(cfg: Any) -> str:
    backbone = cfg.model.get('backbone') or {}
    return str(backbone.get('arch') or backbone.get('type') or cfg.model.type)


def smoke(suite: Suite, updates: int = UPDATES) -> Suite:
    """The suite with every run of a few updates, the first of its seeds, no record.

    Everything else stays as it is: networks, batches, loops, hooks, evaluation. The suite has a
    name of its own, so that its folder is not that of the real runs.
    """
    return replace(
        suite.on_own_test_data().with_steps(lambda step: _shortened(step, updates)),
        name=f'{suite.name}_smoke',
        seeds=suite.seeds[:1],
        record=None,
        note=_SMOKE,
    )


def _shortened(step: Step, updates: int) -> Step:
    cfg = raw_config(step.config, step.options)
    steps = updates * cfg.optim_wrapper.get('accumulative_counts', 1)
    options: dict[str, Any] = {
        # one pass over them, for the loops that count in epochs
        'train_dataloader.dataset.samples': steps * cfg.train_dataloader.batch_size,
        'param_scheduler.0.warmup': 0,
        'default_hooks.logger.interval': 1,
    }
    options |= length_options(cfg, 1 if 'max_epochs' in cfg.train_cfg else steps)
    if cfg.get('val_dataloader'):
        options['val_dataloader.dataset.indices'] = IMAGES
    if cfg.model.type == 'MaskRCNN':
        # a network that has learnt nothing is sure of nothing, and without boxes are no figures
        options['model.test_cfg.rcnn.score_thr'] = 0.0
    return replace(step, options={**step.options, **options})
