"""Batch norm across processes where there are GPUs to synchronise, plain batch norm elsewhere."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.config import Config


def sync_batch_norm(cfg: Config, launcher: str) -> Config:
    """Fit a config's ``SyncBN`` layers to how it is launched, in place.

    Configs say ``SyncBN``, for the published runs on several GPUs. With one process there is
    nobody to synchronise with, and on CPUs the layer refuses to train: both get ``BN``, which has
    the same parameters, so checkpoints fit either way.

    Args:
        cfg: config with any nesting of models; a teacher's own config file needs no change (it
            never trains).
        launcher: ``none`` or what the processes were started with.
    """
    if launcher == 'none' or not torch.cuda.is_available():
        _replace(cfg._cfg_dict)
    return cfg


def _replace(value: Any) -> None:
    if isinstance(value, dict):
        if value.get('type') == 'SyncBN':
            value['type'] = 'BN'
        for item in value.values():
            _replace(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _replace(item)
