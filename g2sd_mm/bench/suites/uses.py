"""What a row uses: labels, teachers, passes over data, and parameters that its student never has.

All of it follows from configs, so that unequal budgets are seen beside the figures.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from ...config.load import load_config
from ...config.parts import (
    import_named_libraries,
    innermost_dataset,
    plain_model,
    teachers_in,
    use_block,
)
from ...devices import on_meta_device
from ...distill.loss_inputs import LOSS_OPTIONS
from ..results import ARITHMETIC, IDENTITY, identity
from .budget import raw_config, runs_loaded, step_work
from .data import OwnData
from .measure import training_gflops
from .suites import Row, Step, Suite


@dataclass(frozen=True)
class Uses:
    """Of all runs that train a row's student, its teachers' own not among them.

    Attributes:
        labels: whether annotations enter a loss.
        teachers: the runs whose weights teach it, or the names of published ones, each once.
        labelled, unlabelled: passes over the training images of runs with and without annotations.
        images: that all of these runs see together, each as often as it is seen.
        extra_params_m: millions of parameters that are trained beside the student and dropped:
            decoders, adapters, what losses have.
    """

    labels: bool
    teachers: tuple[str, ...]
    labelled: float
    unlabelled: float
    images: int
    extra_params_m: float


def uses_of(suite: Suite, row: Row, data: OwnData | None = None) -> Uses:
    """What a row of a suite uses: sizes are counted, nothing computed."""
    steps = list(_student_steps(suite, suite.step(row.step)))
    cfgs = [_config(step) for step in steps]
    work = [step_work(step, data)[0] for step in steps]
    told = [reads_labels(cfg) for cfg in cfgs]
    passes = [each.passes or 0.0 for each in work]
    return Uses(
        labels=any(told),
        teachers=tuple(dict.fromkeys(name for cfg in cfgs for name in _teachers(cfg))),
        labelled=round(sum(n for n, yes in zip(passes, told, strict=True) if yes), 2),
        unlabelled=round(sum(n for n, yes in zip(passes, told, strict=True) if not yes), 2),
        images=sum(each.seen for each in work),
        extra_params_m=round(sum(extra_parameters(step) for step in steps) / 1e6, 4),
    )


def _pflop(
    steps: Iterable[Step], counted: dict[str, float | None], data: OwnData | None
) -> float | None:
    """Arithmetic of steps together, in 1e15; runs that a file stands in for have none.

    ``counted`` keeps that of a training image of each step.
    """
    total = 0.0
    for step in steps:
        if step.name not in counted:
            counted[step.name] = 0.0 if step.file else training_gflops(step)
        each = counted[step.name]
        if each is None:
            return None
        total += each * step_work(step, data)[0].seen / 1e6
    return float(f'{total:.4g}')


def described(
    suite: Suite,
    lines: Iterable[Mapping[str, Any]],
    data: OwnData | None = None,
    before: Iterable[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """:class:`Uses` of the rows that lines of ``results.json`` are of, with what tells them apart.

    Beside it ``pflop``: arithmetic of all of these runs in 1e15, forward and backward, with what
    teachers answer in them; ``teachers_pflop``: that of the runs that trained the teachers. None
    where the images are not there to count it.

    Rows of teachers have none: they are no students.

    Args:
        before: what this returned earlier. Arithmetic is not counted again where all else is the
            same: a detector's takes seconds.
    """
    there = {identity(line) for line in lines}
    known = {_without_arithmetic(line): line for line in before}
    counted: dict[str, float | None] = {}
    found = []
    for row in suite.rows:
        names = row.identity
        if row.method == 'teacher' or names not in there:
            continue
        uses = {**dict(zip(IDENTITY, names, strict=True)), **asdict(uses_of(suite, row, data))}
        old: Mapping[str, Any] = known.get(_without_arithmetic(uses), {})
        if any(old.get(key) is None for key in ARITHMETIC):
            own = list(_student_steps(suite, suite.step(row.step)))
            others = [s for name in suite.chain(row.step) if (s := suite.step(name)) not in own]
            old = {
                key: _pflop(steps, counted, data)
                for key, steps in zip(ARITHMETIC, (own, others), strict=True)
            }
        found.append(uses | {key: old[key] for key in ARITHMETIC})
    return found


def _without_arithmetic(line: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in line.items() if key not in ARITHMETIC}
    return json.dumps(rest, sort_keys=True)


def _config(step: Step) -> Config:
    return use_block(raw_config(step.config, step.options))


def _student_steps(suite: Suite, step: Step) -> Iterator[Step]:
    """The runs whose weights the student has passed through, the first one first."""
    cfg = _config(step).to_dict()
    cfg.pop('distillation', None)
    for name in runs_loaded(cfg):
        if name in step.needs:
            yield from _student_steps(suite, suite.step(name))
    yield step


def _teachers(cfg: Any) -> Iterator[str]:
    for teacher in teachers_in(cfg.get('distillation')).values():
        loaded = runs_loaded(teacher.get('checkpoint'))
        yield loaded[0] if loaded else str(teacher.get('model') or teacher.get('type'))


def reads_labels(cfg: Any) -> bool:
    """Whether annotations enter one of a training config's losses."""
    if innermost_dataset(cfg.train_dataloader.dataset).get('with_label') is False:
        return False
    head = cfg.model.get('head') or {}
    own = (head.get('loss') or {}).get('loss_weight', 1.0)
    losses = (cfg.get('distillation') or {}).get('losses') or {}
    return bool(own) or 'batch.gt_' in str(losses)


def extra_parameters(step: Step) -> int:
    """Parameters that a run trains and its student's weights file does not have."""
    cfg = load_config(step.config, step.options)
    import_named_libraries(cfg)
    block = cfg.get('distillation') or {}
    parts = [part for part in (block.get('adapters') or {}).values() if part]
    for loss in (block.get('losses') or {}).values():
        if loss:
            parts.append({key: v for key, v in loss.items() if key not in LOSS_OPTIONS})
    with on_meta_device(), DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        beside = sum(_number(MODELS.build(part).parameters()) for part in parts)
        if cfg.model.get('backbone'):
            return beside  # a whole task model is deployed
        model = MODELS.build(plain_model(cfg))
    kept = model.deployable_state()
    trained = (p for name, p in model.named_parameters() if name not in kept)
    return beside + _number(p for p in trained if p.requires_grad)


def _number(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)
