"""Options of training that can be measured beside its defaults. The reference has none of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config

from g2sd_mm.distill.answers import tap_of_decisions

_TASKS = ('generic', 'cls', 'det', 'seg')


@dataclass(frozen=True)
class Extra:
    """One option: the tasks that have it, and what it says in their configs."""

    tasks: tuple[str, ...]
    config: dict[str, Any]


EXTRAS = {
    'both': Extra(
        ('generic',),
        {
            'students.small': {},
            'students.tiny': {
                'model': {'arch': 'tiny', 'decoder': 'dec128d4b'},
                'distillation': {'adapters': {'tokens': {'in_channels': 128}}},
            },
        },
    ),
    'decode50': Extra(('generic',), {'model.decode_share': 0.5}),
    'tokens50': Extra(
        ('cls',), {'distillation.teacher.overrides': {'model.backbone.visible_share': 0.5}}
    ),
    'attended50': Extra(('cls',), {'distillation.teacher_patches': {'share': 0.5}}),
    'answers': Extra(('generic',), {}),
    'int8': Extra(_TASKS, {'distillation.teacher.dtype': 'int8'}),
    'float8': Extra(_TASKS, {'distillation.teacher.dtype': 'float8'}),
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
        model.distillation.kept = KnownLabels(tap_of_decisions(model.distillation))
    if extra == 'answers':
        model.distillation.kept = KnownAnswers()
    if extra == 'channels_last':
        for network in (model, *model.frozen_networks):
            network.to(memory_format=torch.channels_last)


class KnownLabels:
    """A file of labels that has every batch."""

    def __init__(self, tap: str) -> None:
        self._tap = tap

    def find(self, samples: Sequence[Any], device: torch.device) -> dict[str, Any]:
        """Class 0 of each sample."""
        return {self._tap: torch.ones(len(samples), 1, device=device)}


class KnownAnswers:
    """The teacher's answers to one batch, in memory: reading a disk is not part of a step."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] | None = None

    def find(self, samples: Any, device: torch.device) -> dict[str, Any] | None:
        """None at the first step."""
        return self._kept

    def keep(self, samples: Any, taught: dict[str, Any]) -> None:
        """All that the teacher said."""
        self._kept = dict(taught)
