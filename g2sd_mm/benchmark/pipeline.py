"""The input pipeline: how fast it reads, and training that is fed by it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from .formulation import Formulation
from .pairing import Task
from .pictures import data_root, write_pictures
from .stages import Stage

PICTURES = 32
_PREFETCH = 2  # batches that torch reads ahead a worker


def build_loader(
    cfg: Config, stage: Stage, folder: Path, batch: int, workers: int, size: str = 'full'
) -> DataLoader:
    """The stage's own training loader, endless, on generated pictures in ``folder``."""
    if not any(folder.iterdir()):
        write_pictures(stage.task, folder, PICTURES)
    settings = cfg.train_dataloader.copy()
    settings.update(batch_size=batch, num_workers=workers, persistent_workers=False)
    settings.sampler.infinite = True
    dataset = settings.dataset.dataset
    dataset.data_root = data_root(stage.task, folder)
    for step in dataset.pipeline:
        _fit(step, stage.side_at(size))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return Runner.build_dataloader(settings, seed=0)


def _fit(step: dict[str, Any], side: int) -> None:
    """Crops of the network's side; the scale of what is cropped follows."""
    if step['type'] == 'RandomResizedCrop':
        step['scale'] = side
    elif step['type'] == 'RandomCrop':
        step['crop_size'] = (side, side)
    elif step['type'] == 'RandomResize':
        longest, shortest = max(step['scale']), min(step['scale'])
        step['scale'] = (side * longest // shortest, side)


def started(loader: DataLoader) -> Iterator[Any]:
    """A new pass over the loader from which all that was read ahead has been taken."""
    batches = iter(loader)
    for _ in range(loader.num_workers * _PREFETCH):
        next(batches)
    return batches


def reading_rate(loader: DataLoader, batches: int) -> float:
    """Images a second that the loader reads when nothing else is done."""
    source = started(loader)
    next(source)
    begun = time.perf_counter()
    for _ in range(batches):
        next(source)
    return batches * (loader.batch_size or 1) / (time.perf_counter() - begun)


def fed_steps(formulation: Formulation, loader: DataLoader, steps: int) -> Task:
    """A task of so many training steps, reading included.

    The batches that workers read ahead while something else was measured are taken first, not
    timed.
    """

    def prepare() -> Callable[[], None]:
        source = started(loader)

        def train() -> None:
            for _ in range(steps):
                formulation.run('step', next(source))

        return train

    return prepare
