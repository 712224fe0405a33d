"""Decisions that all processes of a run have to take alike."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import torch
from mmengine.dist import is_distributed


class Agreement:
    """Asks all ranks over a group of its own, on the CPU: a GPU's queue of work is not waited for.

    To be made by all ranks at the same place of the program, and asked likewise.

    Args:
        timeout: how long the others are waited for.
    """

    def __init__(self, timeout: timedelta) -> None:
        self._group: Any = None
        if is_distributed():
            self._group = torch.distributed.new_group(backend='gloo', timeout=timeout)

    def any(self, flag: bool) -> bool:
        """Whether it is so on any rank."""
        if self._group is None:
            return flag
        votes = torch.tensor([int(flag)])
        torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MAX, group=self._group)
        return bool(votes.item())
