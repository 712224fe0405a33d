"""Options of training that can be measured beside its defaults. The reference has none of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

_TASKS = ('generic', 'cls', 'det', 'seg')


@dataclass(frozen=True)
class Extra:
    """One option: the tasks that have it, and what it says in their configs."""

    tasks: tuple[str, ...]
    config: dict[str, Any]


EXTRAS = {
    'decode50': Extra(('generic',), {'model.decode_share': 0.5}),
    'tokens50': Extra(
        ('cls',), {'distillation.teacher.overrides': {'model.backbone.visible_share': 0.5}}
    ),
    'labels': Extra(('cls',), {}),
    'recompute': Extra(_TASKS, {}),
    'channels_last': Extra(_TASKS, {}),
}


def change_config(cfg: Config, task: str, extra: str | None) -> None:
    """Write an option into a stage's config, in place."""
    if extra:
        cfg.merge_from_dict(dict(EXTRAS[extra].config))
    if extra == 'recompute':
        student = cfg.model if task == 'generic' else cfg.model.backbone
        student.with_cp = True


def change_model(model: Any, extra: str | None) -> None:
    """Turn an option on that is none of the config, in place."""
    if extra == 'labels':
        model.distillation.use_labels(KnownLabels())
    if extra == 'channels_last':
        for network in (model, *model.frozen_networks):
            network.to(memory_format=torch.channels_last)


class KnownLabels:
    """A file of labels that has every batch."""

    def find(self, samples: Sequence[Any]) -> Tensor:
        """Class 0 of each sample: int64 [B]."""
        return torch.zeros(len(samples), dtype=torch.int64)
