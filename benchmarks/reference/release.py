"""The step of the published training scripts as a whole, beside how its parts are computed.

What :class:`~benchmarks.reference.formulation.ReferenceFormulation` leaves out because it changes
nothing: the norm of all gradients, which is computed and not used, learning rates that are set in
every group at every step, losses that are waited for one by one, the loss scaler, and a teacher in
training mode (in detection its stochastic depth is on). float16 autocast where the scripts have it
(stage 1, classification, segmentation) on a GPU; on a CPU theirs does nothing, so the line is
float32 there.
"""

from __future__ import annotations

from typing import Any

import torch
from mmengine.config import Config

from ..speed.build import synchronise
from ..speed.stages import Stage
from .formulation import ReferenceFormulation


class ReleaseFormulation(ReferenceFormulation):
    """The reference with everything that the published loops do around it."""

    def __init__(self, stage: Stage, size: str = 'full', device: str = 'cpu') -> None:
        super().__init__(stage, size, device)
        self.mixed = device.startswith('cuda') and stage.task != 'det'
        self.scaler = torch.amp.GradScaler(device.partition(':')[0], enabled=self.mixed)
        self.rates = [group['lr'] for group in self.optimizer.optimizer.param_groups]

    def _adjust(self, cfg: Config) -> None:
        super()._adjust(cfg)
        teacher = cfg.distillation.teacher
        if self.task == 'generic':
            # both forward passes are inside of its autocast
            teacher.dtype = 'float16' if self.device.startswith('cuda') else 'float32'
        else:
            teacher.train_mode = self.task != 'seg'
        if self.task == 'det':
            teacher.overrides = {**(teacher.get('overrides') or {}),
                                 'model.backbone.drop_path_rate': 0.1}  # fmt: skip

    def _step(self, batch: dict[str, Any]) -> None:
        optimizer = self.optimizer.optimizer
        for group, rate in zip(optimizer.param_groups, self.rates, strict=True):
            group['lr'] = rate
        ready = self.model.data_preprocessor(batch, True)
        kind = self.device.partition(':')[0]
        with torch.autocast(kind, torch.float16 if self.mixed else None, enabled=self.mixed):
            total, shown = self.model.parse_losses(self.model(**ready, mode='loss'))
        for value in shown.values():
            value.item()
        self.scaler.scale(total).backward()
        self.scaler.unscale_(optimizer)
        norm_of_gradients(self.model)
        self.scaler.step(optimizer)
        self.scaler.update()
        optimizer.zero_grad()
        synchronise(self.device)


def norm_of_gradients(model: torch.nn.Module) -> torch.Tensor:
    """The 2-norm of all gradients together, from one norm for each parameter."""
    norms = [p.grad.detach().norm(2) for p in model.parameters() if p.grad is not None]
    return torch.stack(norms).norm(2)
