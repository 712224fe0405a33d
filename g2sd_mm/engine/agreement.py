"""Decisions that all processes of a run have to take alike."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch
from mmengine.dist import is_distributed

#: Seconds after which a process that does not answer is given up, unless
#: ``env_cfg.dist_cfg.timeout`` says otherwise. The others wait that long while one evaluates.
PEER_TIMEOUT = 1800


def peer_timeout(cfg: Mapping[str, Any]) -> timedelta:
    """How long the processes of a config's run wait for each other."""
    dist_cfg = (cfg.get('env_cfg') or {}).get('dist_cfg') or {}
    return timedelta(seconds=dist_cfg.get('timeout', PEER_TIMEOUT))


class Agreement:
    """Asks all ranks over a group of its own, on the CPU: a GPU's queue of work is not waited for.

    To be made by all ranks at the same place of the program, and asked likewise.

    Args:
        timeout: after which a rank that does not answer is given up; a group has its own.
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
