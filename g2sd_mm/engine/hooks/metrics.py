"""Fetch losses from the device when somebody looks at them, and not at every step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_world_size
from mmengine.hooks import RuntimeInfoHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

#: Values of a quantity that are kept. mmengine keeps a million and copies them all at every step.
_KEPT = 10_000

Step = dict[str, Any]


@HOOKS.register_module()
class MetricsHook(RuntimeInfoHook):
    """mmengine's ``RuntimeInfoHook``, which hands losses to the log, without a wait in every step.

    A number on a GPU can only be read after all that was asked of the GPU before it is done:
    reading every loss of every step leaves it idle while the next step is prepared. Losses stay on
    the device until a hook with an interval (log, checkpoint) is due, validation begins, or an
    epoch ends. Then all of them come at once, averaged over the ranks.

    Takes its place as ``default_hooks=dict(runtime_info=dict(type='MetricsHook'))``.
    """

    def __init__(self) -> None:
        self._pending: list[Step] = []
        self._intervals: set[int] = set()

    def before_train(self, runner: Runner) -> None:
        """Find out how often somebody looks."""
        super().before_train(runner)
        self._intervals = {
            hook.interval
            for hook in runner.hooks
            if isinstance(getattr(hook, 'interval', None), int)
            and hook.interval > 0
            and not getattr(hook, 'by_epoch', False)
        }

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep the losses of this step; hand all over if it is time."""
        if outputs:
            self._pending.append(
                {k: v.detach() if isinstance(v, Tensor) else v for k, v in outputs.items()}
            )
        # by number in the epoch, as the log counts, and in the run, as checkpoints do
        due = any(
            self.every_n_inner_iters(batch_idx, n) or self.every_n_train_iters(runner, n)
            for n in self._intervals
        )
        ends = self.end_of_epoch(runner.train_dataloader, batch_idx)
        if due or ends or self.is_last_train_iter(runner):
            self._deliver(runner)

    def before_val(self, runner: Runner) -> None:
        """A best checkpoint, saved after validation, holds the log."""
        self._deliver(runner)
        super().before_val(runner)

    def after_train(self, runner: Runner) -> None:
        """Hand over what is left of a run that was stopped."""
        self._deliver(runner)
        super().after_train(runner)

    def _deliver(self, runner: Runner) -> None:
        steps, self._pending = fetch(self._pending), []
        if get_world_size() > 1:
            steps = _mean(all_gather_object(steps))
        for step in steps:
            for name, value in step.items():
                runner.message_hub.update_scalar(f'train/{name}', value)
        for buffer in runner.message_hub.log_scalars.values():
            buffer.max_length = min(buffer.max_length, _KEPT)


def fetch(steps: list[Step]) -> list[Step]:
    """The same steps with every tensor of one element as a number, by one transfer."""
    tensors = [value for step in steps for value in step.values() if isinstance(value, Tensor)]
    if not tensors:
        return steps
    numbers = iter(torch.stack([tensor.reshape(()).double() for tensor in tensors]).tolist())
    return [
        {name: next(numbers) if isinstance(v, Tensor) else v for name, v in step.items()}
        for step in steps
    ]


def _mean(ranks: list[list[Step]]) -> list[Step]:
    """Mean over the ranks, of those that have a value (mmdet leaves some out now and then)."""
    means = []
    for together in zip(*ranks, strict=True):
        names = dict.fromkeys(name for step in together for name in step)
        values = {name: [step[name] for step in together if name in step] for name in names}
        means.append({name: sum(found) / len(found) for name, found in values.items()})
    return means
