"""Where networks compute: the device that was asked for, if this machine has it."""

from __future__ import annotations

import torch

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
