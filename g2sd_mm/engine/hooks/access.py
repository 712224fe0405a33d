"""What hooks ask a runner: the model behind DDP, how far training is, whether it may stop here."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import CheckpointHook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from ...compat.resume_data import CheckpointFolder
from ..fitting import units_of
from ..position import Position, iterations_of_update

#: What a run, and its checkpoint, says of the last validation: updates that there were before it.
VALIDATED = 'validated'


def bare_model(runner: Runner) -> Any:
    """The runner's model without its DDP wrapper."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def frozen_networks(model: Any) -> tuple[nn.Module, ...]:
    """Networks that a model runs beside itself, which are in no state dict: its teachers."""
    return getattr(model, 'frozen_networks', ())


def about_teachers(model: Any) -> dict[str, dict[str, Any]]:
    """What a model's teachers say of themselves, by name; the only one of a config has none."""
    teachers = getattr(model, 'teachers', None)
    if not isinstance(teachers, dict):
        return {}
    return {name: teacher.about() for name, teacher in teachers.items()}


def updates_so_far(runner: Runner) -> int:
    """Optimizer updates since the start of training, also after a resume with another batch."""
    return updates_before(runner, runner.iter)


def updates_before(runner: Runner, iteration: int) -> int:
    """The same before any iteration of this run, counted from 0."""
    accumulation = iterations_of_update(runner)
    start = getattr(runner.train_loop, 'start', None)
    if start is None:
        return iteration // accumulation
    return start.updates + (iteration - start.iteration) // accumulation


def position_of(runner: Runner, epoch: int, iteration: int) -> Position:
    """Where a run is.

    Args:
        runner: that trains.
        epoch: whole epochs done.
        iteration: iterations done.
    """
    start = getattr(runner.train_loop, 'start', None)
    if start is None:
        start = Position(units_of(runner), epoch=0, iteration=0, updates=0, images=0)
    return start.after(epoch, iteration)


def between_updates(runner: Runner) -> bool:
    """Whether no gradients are waiting, so that parameters and counts are all there is to save.

    After a step, not during one. False inside of a window of gradient accumulation.
    """
    should_update = getattr(runner.optim_wrapper, 'should_update', None)
    return should_update is None or should_update()


def resumed_here(runner: Runner) -> bool:
    """Whether the run went on from a checkpoint of its own: what is in its folders is its own."""
    file = getattr(runner, 'resumed_from', None)
    if not file:
        return False
    work_dir = str(runner.work_dir)
    folders = [CheckpointFolder(work_dir, '')]
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook):
            folders += [CheckpointFolder(str(hook.out_dir or work_dir), '')]
            folders += [CheckpointFolder.of(hook, work_dir)]
    return any(folder.holds(file) for folder in folders)
