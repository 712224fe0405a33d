"""Adam and AdamW on torch's fused kernels: one pass over parameters and moments an update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import Optimizer

_TYPES = ('Adam', 'AdamW')
_DEVICES = {'cpu', 'cuda'}  # that every torch this project supports has the kernels for


def with_fused_kernel(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """An optimizer's config, asking for the fused kernel where that is possible and left open.

    A config that says ``fused`` or ``foreach`` itself is left as it is.

    Args:
        cfg: with ``type`` and ``params``, a list of parameter groups.
    """
    name = str(getattr(cfg['type'], '__name__', cfg['type'])).rsplit('.', 1)[-1]
    parameters = [parameter for group in cfg['params'] for parameter in group['params']]
    possible = name in _TYPES and all(
        parameter.device.type in _DEVICES and torch.is_floating_point(parameter)
        for parameter in parameters
    )
    chosen = {'fused', 'foreach', 'capturable', 'differentiable'} & set(cfg)
    return dict(cfg) if chosen or not possible else {**cfg, 'fused': True}


def keep_kernel(optimizer: Optimizer) -> Optimizer:
    """Let an optimizer keep its own kernel when a checkpoint is loaded, in place.

    torch takes all settings of a group from the checkpoint, the kernel among them: a run that was
    begun without the fused one, or on another device, would go on like that.
    """
    optimizer.register_load_state_dict_pre_hook(_with_own_kernel)
    return optimizer


def _with_own_kernel(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    own = [
        {key: group[key] for key in ('fused', 'foreach') if key in group}
        for group in optimizer.param_groups
    ]
    saved = state['param_groups']
    if len(own) != len(saved):
        return state  # of another model: torch says so
    return {**state, 'param_groups': [{**g, **k} for g, k in zip(saved, own, strict=True)]}
