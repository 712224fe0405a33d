"""Questions about tensors in any nesting."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in dicts, lists and tuples, in their order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from tensors_in(part)


def any_not_finite(tensors: Sequence[Tensor]) -> Tensor:
    """1.0 if there is a number that is not finite, else 0.0, without waiting for the device.

    Looks at the largest magnitude of each tensor, since a sum of squares could overflow. Of tensors
    that are sharded over the processes all parts count; all processes have to ask then.
    """
    detached = [tensor.detach() for tensor in tensors]
    own = [t.to_local() if hasattr(t, 'to_local') else t for t in detached]
    parts = [part for part in own if part.is_floating_point()]
    largest = [torch.linalg.vector_norm(part, math.inf).float() for part in parts if part.numel()]
    device = parts[0].device if parts else None
    found = torch.zeros((), device=device)
    if largest:
        found = 1.0 - torch.stack(largest).isfinite().all().float()
    if is_sharded(tensors):
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX)
    return found


class DeferredScalar:
    """A number that leaves the device when the work before it is done, and that nobody waits for.

    ``item()`` of a tensor on a GPU waits for all work in the queue, that of the next step too if it
    is there already; this one waits for what stood before it.

    Args:
        value: one element.
    """

    def __init__(self, value: Tensor) -> None:
        self._arrived = torch.cuda.Event() if value.is_cuda else None
        self._value = value.detach()
        if self._arrived is not None:
            pinned = torch.empty((), dtype=value.dtype, pin_memory=True)
            self._value = pinned.copy_(value.detach().reshape(()), non_blocking=True)
            self._arrived.record()

    def item(self) -> float:
        """The number, once it is here."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._value.item()


def is_sharded(tensors: Sequence[Tensor]) -> bool:
    """Whether this process has a part only of any of them."""
    return any(hasattr(tensor, 'to_local') for tensor in tensors)


def all_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether every number is finite; the device is waited for once."""
    return not any_not_finite(tensors).item()


def is_constant(answer: Any) -> bool:
    """Whether tensors [B, ...] in any nesting are the same for all B > 1 samples.

    Up to a millionth of the largest magnitude counts as no difference. Numbers that are not finite
    are an answer to nothing: constant.
    """
    tensors = [tensor for tensor in tensors_in(answer) if tensor.ndim > 1 and len(tensor) > 1]
    return bool(tensors) and all(
        not bool((t - t[:1]).abs().max() > 1e-6 * t.abs().max()) for t in tensors
    )
