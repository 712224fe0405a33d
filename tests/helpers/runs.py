"""Short runs of mmengine's Runner on data in memory."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from .toys import images, labelled

_NUMBERS = itertools.count()


class Slope(BaseModel):
    """One parameter; its loss has the gradient 1."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, inputs: Any = None, data_samples: Any = None, mode: str = 'tensor') -> Any:
        return {'loss': self.weight * 1.0} if mode == 'loss' else self.weight


def loader(
    batches: int = 4, batch_size: int = 2, classes: int = 3, stacked: bool = False
) -> DataLoader:
    """Batches of images (a list, or stacked) and labels, the same ones in every pass."""
    number = batches * batch_size
    samples = labelled([i % classes for i in range(number)], classes)
    items = [
        dict(inputs=image, data_samples=sample)
        for image, sample in zip(images(number), samples, strict=True)
    ]

    def collate(batch: list[dict]) -> dict:
        lists = {key: [item[key] for item in batch] for key in batch[0]}
        return {**lists, 'inputs': torch.stack(lists['inputs'])} if stacked else lists

    return DataLoader(items, batch_size, collate_fn=collate)


def runner(folder: Path, model: nn.Module, **changes: Any) -> Runner:
    """A quiet runner: two epochs of four batches with SGD at rate 1."""
    arguments = dict(
        work_dir=str(folder),
        train_dataloader=loader(),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.0)),
        default_scope='mmpretrain',
        default_hooks=dict(logger=None),
        randomness=dict(seed=0),
        log_level='ERROR',
        experiment_name=f'test_{next(_NUMBERS)}',
    )
    return Runner(model=model, **{**arguments, **changes})


def updates(run: Runner) -> list[float]:
    """Learning rate of the first group at each update; filled while the run trains."""
    rates: list[float] = []
    run.optim_wrapper = run.build_optim_wrapper(run.optim_wrapper)
    optimizer = run.optim_wrapper.optimizer
    optimizer.register_step_pre_hook(lambda opt, *_: rates.append(opt.param_groups[0]['lr']))
    return rates
