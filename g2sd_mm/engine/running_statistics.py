"""Running statistics of norm layers: what a forward pass changes of a network before any update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import EMAHook
from mmengine.runner import Runner
from torch import Tensor, nn

from .hooks.access import bare_model


def running_statistics(model: nn.Module) -> list[Tensor]:
    """Means, variances and counts of every batch norm (or another norm that has them)."""
    names = ('running_mean', 'running_var', 'num_batches_tracked')
    found = (getattr(module, name, None) for module in model.modules() for name in names)
    return [buffer for buffer in found if isinstance(buffer, Tensor)]


class Undo:
    """Takes back what forward passes did to running statistics.

    Args:
        model: a network; one without such statistics costs nothing.
    """

    def __init__(self, model: nn.Module) -> None:
        kinds: dict[Any, list[Tensor]] = {}
        for buffer in running_statistics(model):
            kinds.setdefault((buffer.dtype, buffer.device), []).append(buffer)
        self._now = list(kinds.values())
        self.keep()

    @torch.no_grad()
    def keep(self) -> None:
        """Note how they are: one tensor of each kind, since a network has many small ones."""
        self._before = [_flat(buffers) for buffers in self._now]

    @torch.no_grad()
    def back_if(self, bad: Tensor) -> None:
        """What was noted counts again; a GPU is not waited for to say whether.

        Args:
            bad: one element, not 0 if the passes since then are not to count.
        """
        if bad.device.type == 'cpu' and not bad.item():
            return
        for before, buffers in zip(self._before, self._now, strict=True):
            chosen = torch.where(bad.to(before.device) != 0, before, _flat(buffers))
            _fill(buffers, chosen)


@torch.no_grad()
def share_statistics(runner: Runner) -> None:
    """Give all processes the mean of their running statistics; one process keeps its own.

    To be called by all of them, before a validation and before something is saved: else each would
    validate a network of its own, and the file would have that of the first. The training itself
    does not use these statistics. An averaged network has them too.
    """
    if get_world_size() == 1:
        return
    averaged = [hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook)]
    models = [bare_model(runner), *averaged]
    # counts are the same everywhere
    own = [b for model in models for b in running_statistics(model) if b.is_floating_point()]
    if not own:
        return
    # in float64 the mean of equal numbers is that number: sharing once more changes nothing
    flat = torch.cat([buffer.double().flatten() for buffer in own])
    all_reduce(flat, 'mean')
    _fill(own, flat)


def _flat(buffers: Sequence[Tensor]) -> Tensor:
    return torch.cat([buffer.flatten() for buffer in buffers])


def _fill(buffers: Sequence[Tensor], flat: Tensor) -> None:
    parts = flat.split([buffer.numel() for buffer in buffers])
    torch._foreach_copy_(
        list(buffers), [part.view_as(buffer) for part, buffer in zip(parts, buffers, strict=True)]
    )
