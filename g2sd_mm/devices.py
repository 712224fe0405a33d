"""Where networks are: the device that was asked for, if this machine has it, or none at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .errors import UserError
from .text import first_line


def usable_device(asked: str | None = None) -> str:
    """The device to use; without one that is asked for, ``cuda`` if there is a GPU, else ``cpu``.

    Raises:
        UserError: if there is no such device, or nothing can be computed on it.
    """
    if not asked:
        return 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        torch.zeros(1, device=asked).cpu()  # of ``meta``, which holds no values, too
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, NotImplementedError, AssertionError) as error:  # one or another
        raise UserError(
            f'device {asked} cannot be used: {first_line(error)}; give cpu, cuda or cuda:NUMBER'
        ) from error
    return asked


@contextmanager
def on_meta_device() -> Iterator[None]:
    """Build networks of shapes alone, which take no memory.

    As ``torch.device('meta')``, and several times as quick: torch works out the numbers of an
    initialisation step by step in Python where there are none.
    """
    with torch.device('meta'), _Unfilled():
        yield


def outlined(build: Callable[[], Any]) -> Any:
    """What ``build`` gives, without memory where that works: some networks compute meanwhile."""
    try:
        with on_meta_device():
            return build()
    except (RuntimeError, NotImplementedError):
        return build()


class _Unfilled(TorchFunctionMode):
    """What changes nothing but a tensor's numbers does nothing to a tensor without numbers."""

    _FILLS = frozenset(
        {'uniform_', 'normal_', 'erfinv_', 'fill_', 'zero_', 'mul_', 'add_', 'sub_', 'div_',
         'clamp_', 'clamp_min_', 'clamp_max_'}
    )  # fmt: skip

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if getattr(func, '__name__', '') in self._FILLS and args:
            tensor = args[0]
            if isinstance(tensor, Tensor) and tensor.is_meta:
                return tensor
        return func(*args, **(kwargs or {}))
