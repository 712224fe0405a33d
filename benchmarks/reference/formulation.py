"""The published training step in the parts that the benchmark times."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.config import Config

from ..speed.build import synchronise
from ..speed.formulation import Formulation
from ..speed.stages import Stage
from . import generic, specific


class ReferenceFormulation(Formulation):
    """Float32 throughout, one optimizer group a parameter, and a wait for the losses every step."""

    def __init__(self, stage: Stage, size: str = 'full', device: str = 'cpu') -> None:
        self.task = stage.task
        super().__init__(stage, size, device)
        self.kept: list = []  # q, k and v of all layers of both networks
        if self.task == 'generic':
            generic.restate(self.model, self.kept)
        else:
            specific.restate(self.model, self.task)
        self.optimizer.optimizer = one_group_each(self.optimizer.optimizer)

    def _adjust(self, cfg: Config) -> None:
        if self.task == 'generic':
            generic.add_unused_loss(cfg)
        elif self.task == 'seg':  # a part that is not named is dropped
            teacher = cfg.distillation.teacher
            teacher.forward = (*teacher.forward, 'auxiliary_head')

    def run(self, part: str, ready: Any) -> None:
        """See the base class."""
        super().run(part, ready)
        self.kept.clear()

    def _step(self, batch: dict[str, Any]) -> None:
        ready = self.model.data_preprocessor(batch, True)
        total, shown = self.model.parse_losses(self.model(**ready, mode='loss'))
        for value in shown.values():
            value.item()
        optimizer = self.optimizer.optimizer
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        synchronise(self.device)

    def _teacher(self, ready: dict[str, Any]) -> None:
        if self.task != 'generic':
            self.model.teacher.samples = ready['data_samples']
        super()._teacher(ready)


#: what the published optimizer leaves to torch, or does not know
_NOT_SET = ('fused', 'foreach', 'param_names')


def one_group_each(optimizer: torch.optim.AdamW) -> torch.optim.AdamW:
    """The same settings with every parameter in a group of its own, on torch's default kernel."""
    groups = [
        {**{k: v for k, v in group.items() if k not in _NOT_SET}, 'params': [parameter]}
        for group in optimizer.param_groups
        for parameter in group['params']
    ]
    return torch.optim.AdamW(groups)
