"""The input pipeline: how fast it reads, and training that is fed by it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner
from torch.utils.data import DataLoader, RandomSampler

from g2sd_mm.datasets.decoding import EncodedImage

from .formulation import Formulation
from .pairing import Task
from .pictures import data_root, write_pictures
from .stages import Stage
from .stock import stock_pipeline

PICTURES = 32
_ENDLESS = 2**62
_PREFETCH = 2  # batches that torch reads ahead a worker


def build_loader(
    cfg: Config,
    stage: Stage,
    folder: Path,
    batch: int,
    workers: int,
    size: str = 'full',
    images: Path | None = None,
) -> DataLoader:
    """The stage's own training loader, endless, on ``images`` or generated ones in ``folder``."""
    if images is None and not any(folder.iterdir()):
        write_pictures(stage.task, folder, PICTURES)
    settings = cfg.train_dataloader.copy()
    settings.update(batch_size=batch, num_workers=workers, persistent_workers=False)
    settings.sampler.infinite = True
    dataset = settings.dataset.dataset
    dataset.data_root = str(images or data_root(stage.task, folder))
    for step in dataset.pipeline:
        _fit(step, stage.side_at(size))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return Runner.build_dataloader(settings, seed=0)


def build_stock_loader(loader: DataLoader, stage: Stage, size: str = 'full') -> DataLoader | None:
    """mmpretrain's own pipeline over the images of a loader of :func:`build_loader`.

    Returns:
        None where it has none for the stage's task.
    """
    pipeline = stock_pipeline(stage.task)
    if pipeline is None:
        return None
    for step in pipeline:
        _fit(step, stage.side_at(size))
    settings = dict(
        type='CustomDataset',
        data_root=_dataset(loader).data_root,
        with_label=stage.task != 'generic',
        pipeline=pipeline,
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(settings)
    return DataLoader(
        dataset,
        batch_size=loader.batch_size,
        sampler=RandomSampler(dataset, replacement=True, num_samples=_ENDLESS),
        num_workers=loader.num_workers,
        collate_fn=default_collate,
    )


def _fit(step: dict[str, Any], side: int) -> None:
    """Crops of the network's side; the scale of what is cropped follows."""
    if step['type'] in ('RandomResizedCrop', 'LoadRandomResizedCrop'):
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


def reading(loader: DataLoader, batches: int) -> Task:
    """A task of reading so many batches."""

    def prepare() -> Callable[[], None]:
        source = started(loader)

        def read() -> None:
            for _ in range(batches):
                next(source)

        return read

    return prepare


def _dataset(loader: DataLoader) -> Any:
    """A library's data set: torch's type does not know what it can be asked."""
    return loader.dataset


def decoding(loader: DataLoader, images: int, reduction: int = 1) -> Task:
    """A task of decoding so many of a loader's images: what a pipeline cannot fall below.

    Args:
        loader: of :func:`build_loader`.
        images: number.
        reduction: 1 for all pixels; 8 leaves little more than reading the stream of bits, which no
            crop spares a JPEG decoder.
    """
    dataset = _dataset(loader)
    files = [Path(dataset.get_data_info(n)['img_path']) for n in range(len(dataset))]
    contents = [file.read_bytes() for file in files]

    def prepare() -> Callable[[], None]:
        def decode() -> None:
            for content in itertools.islice(itertools.cycle(contents), images):
                EncodedImage(content).decode(reduction)

        return decode

    return prepare


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
