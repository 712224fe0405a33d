"""The tasks: a file each, and :data:`TASKS`, the only table of them.

A task's file has everything that is special about it: the library whose models it trains, its
metrics and the one that it is judged by, its network as a function of one tensor, how a prediction
becomes plain values, and how it is drawn. A module dropped into this folder is a task; one of
somebody's own is registered by :func:`register` (from a module in a config's ``custom_imports``).
"""

from __future__ import annotations

from collections.abc import Mapping

from ..dropped_in import import_modules
from .task import Image, Metric, PaperData, Task, class_name

__all__ = [
    'TASKS',
    'Image',
    'Metric',
    'PaperData',
    'Task',
    'best_by',
    'class_name',
    'in_units',
    'more_is_better',
    'register',
    'rule_of',
    'scopes',
    'task_named',
    'task_of',
]

#: Key of a task (``cls``, ``det``, ...) -> the task, in the order of tables and reports.
TASKS: dict[str, Task] = {}


def register(task: Task) -> Task:
    """Add a task to :data:`TASKS`.

    Raises:
        ValueError: if another one has its key or name.
    """
    for other in TASKS.values():
        if other is not task and {other.key, other.name} & {task.key, task.name}:
            raise ValueError(f'there is a task {other.key} ({other.name}) already')
    TASKS[task.key] = task
    return task


def task_of(scope: str | None, model: object = None) -> Task | None:
    """The task whose library is ``scope``; None where no task has it.

    Args:
        scope: ``mmpretrain``, ``mmdet``, ``mmseg``: a config's ``default_scope``.
        model: its model config, for libraries that serve several tasks.
    """
    found = [task for task in TASKS.values() if task.scope == scope]
    kind = str(model.get('type', '')) if isinstance(model, Mapping) else ''
    special = [task for task in found if kind.rpartition('.')[2] in task.model_types]
    general = [task for task in found if not task.model_types]
    return next(iter([*special, *general]), None)


def task_named(name: str) -> Task:
    """The task of a record: ``classification``, ``detection``, ...

    Raises:
        KeyError: if there is none.
    """
    return next(task for task in TASKS.values() if task.name == name)


def scopes() -> list[str]:
    """The libraries whose models are trained, each once."""
    return list(dict.fromkeys(task.scope for task in TASKS.values()))


def best_by() -> list[str]:
    """Logged metrics by the first of which, that validation reports, the best weights are kept."""
    return [name for task in TASKS.values() for name in task.best_by]


def more_is_better(logged: str) -> bool:
    """Whether more of a logged metric is better; of one that no task has, that is taken for so."""
    return rule_of(logged) != 'less'


def rule_of(logged: str) -> str | None:
    """``greater`` or ``less``: which of a logged metric is better; None if no task has it."""
    metrics = (metric for task in TASKS.values() for metric in task.metrics)
    known = next((metric for metric in metrics if metric.logged == logged), None)
    if known is None:
        return None
    return 'less' if known.lower_is_better else 'greater'


def in_units(metrics: Mapping[str, float]) -> list[str]:
    """An evaluation's figures as people read them: ``top1 88.27 %``, ``bbox_mAP 59.30 %``.

    Names and units are those of all tables. A figure that no table has goes by its own name, and by
    the unit of others of the same evaluation (``coco/bbox_mAP_50``). One of COCO's sizes of which
    there is no object has none.
    """
    known = {m.logged: m for task in reversed(TASKS.values()) for m in task.metrics}
    beside = {m.logged.rpartition('/')[0]: m for m in known.values() if '/' in m.logged}
    said = []
    for logged, value in metrics.items():
        group, _, name = logged.rpartition('/')
        like = beside.get(group)
        metric = known.get(logged) or (
            Metric(name, logged, like.factor, like.unit)
            if like
            else Metric(logged, logged, unit='')
        )
        if group == 'coco' and value == -1:  # COCO's figure of objects that are not there
            said.append(f'{metric.name} none')
            continue
        said.append(f'{metric.name} {metric.factor * value:.2f} {metric.unit}'.rstrip())
    return said


for _module in import_modules(__name__, __path__):
    if _task := getattr(_module, 'TASK', None):
        TASKS[_task.key] = _task
TASKS = dict(sorted(TASKS.items(), key=lambda item: item[1].place))
