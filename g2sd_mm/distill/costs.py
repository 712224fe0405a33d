"""What each of several teachers takes: time in the log, memory once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..engine.hooks.access import bare_model
from .hooks import distillations_of, teachers_of

_MIB = 2**20


@HOOKS.register_module()
class TeacherCostHook(Hook):
    """Logs the seconds that each teacher takes to answer, as ``time_teacher_NAME``.

    One step in ``interval`` is measured, that of a line of the log, so nothing is waited for at
    others. At the first step the log says how large each teacher is: its weights, and on a GPU what
    it takes beside them while it answers.

    Args:
        interval: steps between two that are measured; None for those between two lines of the log.
    """

    priority = 'NORMAL'  # before the logger

    def __init__(self, interval: int | None = None) -> None:
        self.interval = interval
        self._sized = False
        self._memory: dict[str, int] = {}
        self._seconds: dict[str, Any] = {}

    def before_train(self, runner: Runner) -> None:
        """As often as the logger, and the sizes anew."""
        self._sized = False
        if self.interval is None:
            intervals = [getattr(hook, 'interval', None) for hook in runner.hooks
                         if type(hook).__name__ == 'LoggerHook']  # fmt: skip
            self.interval = next(filter(None, intervals), 50)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Let the teachers' answers be measured at steps that are looked at."""
        if not self._sized or self.every_n_train_iters(runner, self.interval or 50):
            self._seconds = {}
            distillations_of(bare_model(runner))[0].stopwatch = self._measuring

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Write the figures where the logger finds them."""
        distillation = distillations_of(bare_model(runner))[0]
        if distillation.stopwatch is None:
            return
        distillation.stopwatch = None
        for name, span in self._seconds.items():
            seconds = span if isinstance(span, float) else _seconds_between(*span)
            runner.message_hub.update_scalar(f'train/time_teacher_{name}', seconds)
        if not self._sized:
            self._sized = True
            for name, teacher in teachers_of(bare_model(runner)).items():
                tensors = [*teacher.model.parameters(), *teacher.model.buffers()]
                size = sum(tensor.numel() * tensor.element_size() for tensor in tensors) / _MIB
                beside = self._memory.get(name)
                answering = '' if beside is None else f', {beside / _MIB:.0f} MiB while it answers'
                runner.logger.info(
                    'teacher %s: %.1f M parameters, %.1f MiB of weights%s', name,
                    sum(p.numel() for p in teacher.model.parameters()) / 1e6, size, answering,
                )

    @contextmanager
    def _measuring(self, name: str) -> Iterator[None]:
        """Time, and at the first step memory, of what one teacher does inside of the block."""
        if not torch.cuda.is_available():
            begun = time.perf_counter()
            yield
            self._seconds[name] = time.perf_counter() - begun
            return
        if not self._sized:  # before the student's own peak, which the log shows
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        events[0].record()
        yield
        events[1].record()
        self._seconds[name] = events
        if not self._sized:
            self._memory[name] = torch.cuda.max_memory_allocated() - before


def _seconds_between(start: torch.cuda.Event, end: torch.cuda.Event) -> float:
    end.synchronize()
    return start.elapsed_time(end) / 1000
