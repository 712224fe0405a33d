"""What distillation adds to a run: its own entry, warm-ups, a look at teachers and their costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..engine.hooks.access import bare_model, updates_before, updates_so_far
from ..engine.tensors import is_constant
from ..errors import ConfigError
from .distillation import Distillation
from .losses.standardisation import measured_target

_MIB = 2**20


class _StudentsRunner:
    """A runner whose model is the student alone."""

    def __init__(self, runner: Runner) -> None:
        self._runner, self.model = runner, bare_model(runner).student

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)


@HOOKS.register_module()
class StudentHook(Hook):
    """A hook that knows the plain model, of a run in which that is the student of a distiller."""

    def __init__(self, hook: dict) -> None:
        self.hook: Hook = HOOKS.build(hook)
        self.priority = self.hook.priority
        for stage in self.hook.get_triggered_stages():
            setattr(self, stage, partial(self._call, getattr(self.hook, stage)))

    def _call(self, method: Any, runner: Runner, *args: Any, **kwargs: Any) -> None:
        method(_StudentsRunner(runner), *args, **kwargs)


@HOOKS.register_module()
class DistillationHook(Hook):
    """Adds a teacher's losses to a stock model's own, without changing the model's class.

    Args:
        teacher, taps, losses: as in a ``distillation`` block.

    The model's ``loss`` method is wrapped for the time of training. Adapters, and losses with
    parameters or buffers, are refused: a hook is built after the optimizer, so that they would
    never be trained, and no checkpoint would have them.
    """

    priority = 'VERY_HIGH'

    def __init__(self, teacher: dict, taps: dict, losses: dict, **unsupported: Any) -> None:
        if unsupported:
            raise ValueError(
                f'DistillationHook cannot do {", ".join(sorted(unsupported))}: adapters have '
                'parameters, and a hook comes after the optimizer was built. Use a "distillation" '
                'block with tools/train.py or g2sd_mm.distill_config(cfg)'
            )
        self._block = dict(teacher=teacher, taps=taps, losses=losses)

    def before_train(self, runner: Runner) -> None:
        """Build the teacher and listen to the model."""
        model = bare_model(runner)
        if not callable(getattr(model, 'loss', None)):
            raise TypeError(
                f'DistillationHook needs a model with a loss(inputs, data_samples) method, as all '
                f'of mmpretrain, mmdet and mmseg have; {type(model).__name__} has none'
            )
        self.distillation = distillation = Distillation(model, **self._block)
        if kept := [name for name, loss in distillation.losses.items() if loss.state_dict()]:
            raise ConfigError(
                f'DistillationHook cannot do losses.{", losses.".join(kept)}: what a loss learns '
                'or measures belongs into the optimizer and the checkpoint, and a hook comes after '
                'both were made. Use a "distillation" block with tools/train.py or '
                'g2sd_mm.distill_config(cfg); for a measured target, target=\'layernorm\' does too'
            )
        distillation.teacher.to(next(model.parameters()).device)
        self._model, task_loss = model, model.loss

        def loss(inputs: Any, data_samples: Any, *args: Any, **kwargs: Any) -> dict:
            return distillation(
                lambda: task_loss(inputs, data_samples, *args, **kwargs), inputs, data_samples
            )

        model.loss = loss

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Tell the losses' warm-ups how many updates there were."""
        self.distillation.update = updates_so_far(runner)

    def after_train(self, runner: Runner) -> None:
        """Leave the model as it was."""
        del self._model.loss  # the wrapper; the class's own method shows again
        self.distillation.student_taps.remove()


@HOOKS.register_module()
class LossWarmupHook(Hook):
    """Keeps ``distillation.update``, optimizer updates since the start of training.

    Counted from the run's own iteration, so it goes on where it was after a resume. It
    warns where targets are measured for as long as the run is.
    """

    def before_train(self, runner: Runner) -> None:
        """Look how long targets are measured."""
        losses: dict[str, Any] = {}
        for distillation in distillations_of(bare_model(runner)):
            losses |= dict(getattr(distillation, 'losses', {}))
        updates = updates_before(runner, runner.max_iters)
        for name, loss in losses.items():
            if (target := measured_target(loss)) and target.updates >= updates:
                runner.logger.warning(
                    'the targets of %s are measured over %d updates and the run has %d: they never '
                    'come to rest; --cfg-options "distillation.losses.%s.target={\'type\': \'%s\', '
                    '\'updates\': %d}"',
                    name, target.updates, updates, name, target.name,
                    max(1, updates // 20),
                )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Set the count before the losses are computed; 0 at the first step."""
        for distillation in distillations_of(bare_model(runner)):
            distillation.update = updates_so_far(runner)


@HOOKS.register_module()
class TeacherGuardHook(Hook):
    """Checks that every rank has the same teacher, that it teaches, and that nothing trains it.

    A resumed run with another teacher than its checkpoint says so.

    Ranks with different teachers are how a randomly initialised decoder once went unnoticed in the
    published code: each process seeded it differently and the loss settled at the mean of them.

    Args:
        interval: steps between two looks at the teacher, beside the one at the first step: its
            weights are compared to those of the start and between ranks, and its answers to the
            images of a batch among each other. 0 looks at the first step only.
    """

    def __init__(self, interval: int = 1000) -> None:
        self.interval = interval
        self._constant: dict[str, bool] = {}
        self._checksums: dict[str, str] = {}
        self._before: dict[str, str] = {}
        self._first = True

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Record the teachers."""
        checkpoint['meta']['teachers'] = dict(self._checksums)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Remember those of the checkpoint, if the run is resumed."""
        if runner._resume:
            self._before = dict(checkpoint['meta'].get('teachers') or {})

    def before_train(self, runner: Runner) -> None:
        """Raise RuntimeError if ranks differ, or the teacher's parameters are optimised."""
        teachers = bare_model(runner).teachers
        self._checksums = {name: _common_checksum(one) for name, one in teachers.items()}
        taught = {id(p) for teacher in teachers.values() for p in teacher.model.parameters()}
        trained = (p for g in runner.optim_wrapper.param_groups for p in g['params'])
        if any(id(parameter) in taught for parameter in trained):
            raise RuntimeError('the optimizer holds parameters of the teacher')
        for name, checksum in self._checksums.items():
            called = f' {name}:' if name else ''
            runner.logger.info(
                'teacher%s %s, the same on %d rank(s)', called, checksum, get_world_size()
            )
            if (was := self._before.get(name, checksum)) != checksum:
                runner.logger.warning(
                    'changed since the checkpoint: teacher%s: %s, now %s: the run goes on beside '
                    'another one', called, was, checksum,
                )
        self._first = True

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Ask to hear the teacher's answer, at steps where it is looked at."""
        if self._is_time(runner):
            self._constant = {}
            for name, teacher in bare_model(runner).teachers.items():
                teacher.listener = partial(self._listen, name)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Warn of an answer that is the same for all images; raise RuntimeError of new weights."""
        if not self._is_time(runner):
            return
        first, self._first = self._first, False
        for name, teacher in bare_model(runner).teachers.items():
            teacher.listener = None
            called = f' {name}' if name else ''
            if self._constant.get(name):
                runner.logger.warning(
                    'the teacher%s is dead: it gives the same answer to all images of the batch of '
                    'step %d, so there is nothing to learn from it; check its checkpoint, and that '
                    'images are not normalised twice',
                    called, runner.iter + 1,
                )
            if not first and _common_checksum(teacher) != self._checksums[name]:
                raise RuntimeError(
                    f'the weights of the frozen teacher{called} changed before step '
                    f'{runner.iter + 1}: something trains it or writes into it'
                )

    def _is_time(self, runner: Runner) -> bool:
        return self._first or (self.interval > 0 and runner.iter % self.interval == 0)

    def _listen(self, name: str, answer: Any) -> None:
        self._constant[name] = is_constant(answer)


def distillations_of(model: Any) -> list[Distillation]:
    """What was added to the student of a distiller, or to each of several."""
    parts = list(model.students.values()) if hasattr(model, 'students') else [model]
    return [part.distillation for part in parts if hasattr(part, 'distillation')]


def _common_checksum(teacher: Any) -> str:
    """Digest of the teacher's weights; RuntimeError if ranks differ."""
    checksums = all_gather_object(teacher.checksum())
    if len(set(checksums)) > 1:
        raise RuntimeError(
            f'the ranks have different teachers (checksums {checksums}): give all of them the '
            'same checkpoint file'
        )
    return checksums[0]


@HOOKS.register_module()
class TeacherCostHook(Hook):
    """Logs how large each teacher is, and the seconds that it takes: ``time_teacher_NAME``.

    One step in ``interval`` is measured, that of a line of the log, and the first of an epoch, so
    nothing is waited for at others.

    Args:
        interval: steps between two that are measured; None for those between two lines of the log.
    """

    priority = 'NORMAL'  # before the logger

    def __init__(self, interval: int | None = None) -> None:
        self.interval = interval
        self._seconds: dict[str, float] = {}

    def before_train(self, runner: Runner) -> None:
        """Measure as often as the logger writes; say the sizes."""
        if self.interval is None:
            intervals = [getattr(hook, 'interval', None) for hook in runner.hooks
                         if type(hook).__name__ == 'LoggerHook']  # fmt: skip
            self.interval = next(filter(None, intervals), 50)
        for name, teacher in bare_model(runner).teachers.items():
            tensors = [*teacher.model.parameters(), *teacher.model.buffers()]
            runner.logger.info(
                'teacher %s: %.1f M parameters, %.1f MiB of weights', name,
                sum(p.numel() for p in teacher.model.parameters()) / 1e6,
                sum(tensor.numel() * tensor.element_size() for tensor in tensors) / _MIB,
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Let the teachers' answers be measured at steps that are looked at."""
        if not batch_idx or self.every_n_train_iters(runner, self.interval or 50):
            distillations_of(bare_model(runner))[0].stopwatch = self._measuring

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Write the figures where the logger finds them."""
        distillations_of(bare_model(runner))[0].stopwatch = None
        for name, seconds in self._seconds.items():
            runner.message_hub.update_scalar(f'train/time_teacher_{name}', seconds)
        self._seconds = {}

    @contextmanager
    def _measuring(self, name: str) -> Iterator[None]:
        begun = _now()
        yield
        self._seconds[name] = _now() - begun


def _now() -> float:
    """Seconds, when a GPU has done what it was asked."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
