"""Learning-rate schedules in closed form, per optimizer update, as the published recipes have them.

Each is a pure function of progress and a thin mmengine scheduler. mmengine's own chain a warm-up
and a decay that starts after it; the published ones start at a rate of exactly 0, decay from the
first update, or multiply both.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from mmengine.optim.scheduler import _ParamScheduler
from mmengine.registry import PARAM_SCHEDULERS


def warmup_cosine(progress: float, warmup: float, total: float, min_ratio: float = 0.0) -> float:
    """Factor on the learning rate: linear from 0, then half a cosine down to ``min_ratio``.

    ``progress``, ``warmup`` and ``total`` in the same unit (fractional epochs or updates).
    """
    if progress < warmup:
        return progress / warmup
    share = min((progress - warmup) / (total - warmup), 1.0)  # it stays at the end
    return min_ratio + (1 - min_ratio) * 0.5 * (1 + math.cos(math.pi * share))


def warmup_poly(
    step: float, warmup: float, total: float, power: float = 1.0, warmup_ratio: float = 1e-6
) -> float:
    """Polynomial decay from step 0, times a linear warm-up factor over the first steps."""
    factor = max(1 - step / total, 0.0) ** power
    if step < warmup:
        factor *= 1 - (1 - step / warmup) * (1 - warmup_ratio)
    return factor


def warmup_multistep(
    step: float,
    warmup: float,
    milestones: Sequence[float],
    gamma: float = 0.1,
    warmup_ratio: float = 1e-3,
) -> float:
    """``gamma`` to the number of milestones reached, times a linear warm-up factor."""
    factor = gamma ** bisect_right(milestones, step)
    if step < warmup:
        share = step / warmup
        factor *= warmup_ratio * (1 - share) + share
    return factor


class ClosedFormLR(_ParamScheduler):
    """Learning rate of every group = its first one times :meth:`factor` of the step.

    Args:
        accumulation: micro-batches per optimizer update; the rate changes only between updates, as
            an update sees it at its first micro-batch.
    """

    _PLACE = ('last_step', '_global_step', '_last_value', 'base_values')

    def __init__(self, optimizer: Any, *, accumulation: int = 1, **kwargs: Any) -> None:
        self.accumulation = accumulation
        kwargs.setdefault('by_epoch', False)
        super().__init__(optimizer, param_name='lr', **kwargs)

    def factor(self, step: float) -> float:
        """Factor at ``step``, counted in micro-batches."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Where the schedule is. What it is stays the config's: a resumed run may be longer."""
        return {key: value for key, value in super().state_dict().items() if key in self._PLACE}

    def move_to(self, step: int) -> None:
        """Be where ``step`` steps would have led, and set the learning rates of there."""
        self._global_step = step
        if step < self.begin:
            return
        self.last_step = step - self.begin
        for group, value in zip(self.optimizer.param_groups, self._get_value(), strict=True):
            group[self.param_name] = value
        self._last_value = [group[self.param_name] for group in self.optimizer.param_groups]

    def _get_value(self) -> list[float]:
        step = self.last_step - self.last_step % self.accumulation
        return [base * self.factor(step) for base in self.base_values]


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(ClosedFormLR):
    """:func:`warmup_cosine`.

    Args:
        warmup: length of the warm-up, in epochs with ``convert_to_iter_based=True``, else in steps.
        total: length of the whole run, in the same unit; by default the run's own length, which
            the runner passes as ``end``.
        min_ratio: last rate over the first; a ratio, so that layer decay scales it too.
    """

    def __init__(
        self,
        optimizer: Any,
        warmup: float,
        total: float | None = None,
        min_ratio: float = 0.0,
        **kwargs: Any,
    ) -> None:
        total = _run_length(total, kwargs)
        _check_warmup(warmup, total)
        self.warmup, self.total, self.min_ratio = warmup, total, min_ratio
        super().__init__(optimizer, **kwargs)

    @classmethod
    def build_iter_from_epoch(
        cls,
        optimizer: Any,
        warmup: float,
        epoch_length: int,
        total: float | None = None,
        **kwargs: Any,
    ) -> WarmupCosineLR:
        """The same schedule counted in steps: fractional epochs of ``epoch_length`` steps."""
        kwargs.setdefault('by_epoch', True)
        total = _run_length(total, kwargs)
        _check_warmup(warmup, total)  # in epochs still, as the config says it
        kwargs['by_epoch'] = False
        return cls(optimizer, warmup * epoch_length, total * epoch_length, **kwargs)

    def factor(self, step: float) -> float:
        """See :func:`warmup_cosine`."""
        return warmup_cosine(step, self.warmup, self.total, self.min_ratio)


@PARAM_SCHEDULERS.register_module()
class WarmupPolyLR(ClosedFormLR):
    """:func:`warmup_poly`, in steps."""

    def __init__(
        self,
        optimizer: Any,
        warmup: int,
        total: int | None = None,
        power: float = 1.0,
        warmup_ratio: float = 1e-6,
        **kwargs: Any,
    ) -> None:
        self.warmup, self.total = warmup, _run_length(total, kwargs)
        self.power, self.warmup_ratio = power, warmup_ratio
        super().__init__(optimizer, **kwargs)

    def factor(self, step: float) -> float:
        """See :func:`warmup_poly`."""
        return warmup_poly(step, self.warmup, self.total, self.power, self.warmup_ratio)


@PARAM_SCHEDULERS.register_module()
class WarmupMultiStepLR(ClosedFormLR):
    """:func:`warmup_multistep`, in steps.

    Args:
        milestones: where the rate falls: steps, or shares of the run's length if they are below 1,
            rounded to whole updates.
    """

    def __init__(
        self,
        optimizer: Any,
        warmup: int,
        milestones: Sequence[float],
        gamma: float = 0.1,
        warmup_ratio: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        if all(0 < milestone < 1 for milestone in milestones):
            accumulation = kwargs.get('accumulation', 1)
            updates = _run_length(None, kwargs) / accumulation
            milestones = [round(share * updates) * accumulation for share in milestones]
        kwargs.pop('end', None)
        self.warmup, self.milestones = warmup, tuple(milestones)
        self.gamma, self.warmup_ratio = gamma, warmup_ratio
        super().__init__(optimizer, **kwargs)

    def factor(self, step: float) -> float:
        """See :func:`warmup_multistep`."""
        return warmup_multistep(step, self.warmup, self.milestones, self.gamma, self.warmup_ratio)


def _run_length(total: float | None, kwargs: dict) -> float:
    """``total``, or the run's length; ``end`` is taken out: a closed form has no end of its own."""
    end = kwargs.pop('end', None)
    if total is not None:
        return total
    if end is None:
        raise ValueError('this schedule needs the length of the run: set total')
    if 'by_epoch' not in kwargs:
        # the runner takes epochs for the unit unless it is told, and there may be but one
        raise ValueError("set by_epoch=False, for a run's length in steps, or total")
    return end


def _check_warmup(warmup: float, total: float) -> None:
    if not 0 <= warmup < total:
        raise ValueError(
            f'a warm-up of {warmup} does not fit into a run of {total}: shorten the warm-up '
            '(param_scheduler.0.warmup) or lengthen the run'
        )
