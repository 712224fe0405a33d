"""How much a config trains: images, batch, updates, passes; whether data suffice for it.

GPU hours are from measured throughput; nothing is assumed where nothing was measured.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ...config.parts import innermost_dataset, teachers_in, use_block
from ...config.project import find_config
from ...errors import UserError
from ...provenance import cache_key
from .catalogue import MINI
from .data import OwnData
from .suites import Row, Step, Suite

#: Training images by the first folder of the data: of the public releases, as the recipes count.
TRAIN_IMAGES = {'imagenet': 1_281_167, 'coco': 118_000, 'ade': 20_210, 'nyu': 24_231}

# What does not change the arithmetic of a step: where weights come from and how heads start.
_NOT_WORK = {'init_cfg', 'checkpoint', 'class_std', 'random_weights', 'overrides', 'config'}

NOT_MEASURED = 'not measured: run tools/benchmark.py --suite paper on your GPU'

@dataclass(frozen=True)
class Work:
    """One run's arithmetic.

    images: in the training set, None if the config alone does not tell.
    step: images of one step of all processes; ``accumulation`` steps make an update.
    processes: GPUs that the recipe is written for.
    steps: micro-batches of the run on each process.
    """

    images: int | None
    step: int
    accumulation: int
    processes: int
    steps: int

    @property
    def batch(self) -> int:
        """Images of one update."""
        return self.step * self.accumulation

    @property
    def updates(self) -> float:
        """Updates of the run."""
        return self.steps / self.accumulation

    @property
    def seen(self) -> int:
        """Images that the run looks at, each as often as it is seen."""
        return self.step * self.steps

    @property
    def passes(self) -> float | None:
        """Times that each image is seen."""
        return self.seen / self.images if self.images else None


def raw_config(path: str, options: dict[str, Any] | None = None) -> Config:
    """A config with options, as it is written: not fitted to this machine's folders or devices."""
    cfg = copy.deepcopy(_read(path))
    cfg.merge_from_dict(copy.deepcopy(options or {}))  # which takes _delete_ out of them
    return cfg


@cache
def _read(path: str) -> Config:
    # nothing is built from it
    return Config.fromfile(find_config(path), import_custom_modules=False)


def length_options(cfg: Config, length: int) -> dict[str, Any]:
    """Entries that make a run as long, in what its config counts in, and validate at its end."""
    key = 'max_epochs' if 'max_epochs' in cfg.train_cfg else 'max_iters'
    names = ('val_interval', key) if cfg.get('val_dataloader') else (key,)
    return {f'train_cfg.{name}': length for name in names}


def runs_loaded(part: Any) -> list[str]:
    """Names of the runs whose weights a config, or a part of one, names, each once."""
    return list(dict.fromkeys(re.findall(r'work_dirs/([^/\']+)/', str(part))))


def work_of(cfg: Config, images: int | None = None) -> Work:
    """The arithmetic of a raw training config.

    Args:
        cfg: config.
        images: in the folder that it trains on; None to have it from the config itself.

    Raises:
        UserError: if it counts in epochs of a data set whose size it does not tell.
    """
    images = _train_images(cfg, images)
    step, batch = cfg.auto_scale_lr.base_batch_size, cfg.train_dataloader.batch_size
    steps = cfg.train_cfg.get('max_iters')
    if steps is None:
        if images is None:
            raise UserError(f'{cfg.filename} counts in epochs of a data set of unknown size')
        steps = cfg.train_cfg.max_epochs * (images // step)  # the loader drops what is left over
    return Work(
        images=images,
        step=step,
        accumulation=cfg.optim_wrapper.get('accumulative_counts', 1),
        processes=step // batch,
        steps=steps,
    )


def _train_images(cfg: Config, images: int | None) -> int | None:
    if images is None and cfg.get('shapes'):
        images = cfg.shapes.train
    elif images is None:
        images = TRAIN_IMAGES.get(train_root(cfg).removeprefix('data/').split('/')[0])
    if images is None:
        return None
    dataset = cfg.train_dataloader.dataset
    used = -(-images // dataset.get('every', 1))
    return min(used, dataset.get('samples') or used)


def train_root(cfg: Config) -> str:
    """Folder of the training data, as the config has it."""
    return innermost_dataset(cfg.train_dataloader.dataset).data_root


def workload(cfg: Config) -> str:
    """Digest of what a training step computes: configs that agree in it are equally fast.

    Of a distilled config the teacher's network is part of it.
    """
    block = use_block(cfg.copy()).get('distillation')
    named = [part.get('config') for part in teachers_in(block).values()]
    beside = [config and _read(config).model for config in named] or [None]
    parts = [cfg.model, block, *beside]
    plain = [part.to_dict() if hasattr(part, 'to_dict') else part for part in parts]
    return cache_key(plain, ignore=_NOT_WORK)


def amount(work: Work, root: str) -> str:
    """What a run trains, in words; ``root`` is the folder of its data."""
    passes = ''
    if times := work.passes:
        passes = f'{times:.{0 if times >= 10 else 1}f} passes over {work.images:,} images '
    return f'{passes}of {root}, {work.updates:,.0f} updates of {work.batch:,}'


def amounts(suite: Suite, rows: Sequence[Row], data: OwnData | None = None) -> Iterator[str]:
    """A line for each step that the rows need, and one for all of them in a seed.

    On own data the last has the same of the generated data, which the mini suite's hours, as they
    are written down, were measured on.
    """
    steps = list(suite.steps_of(rows))
    seen = 0
    for step in steps:
        if step.file:
            yield f'{step.name}: given ({step.origin}), not trained'
            continue
        work, root = step_work(step, data)
        seen += work.seen
        yield f'{step.name}: {amount(work, root)}'
    known = {step.name: step for step in MINI.steps}
    usual = ''  # nothing to compare with: smoke runs, rows of one's own
    if data and suite.name == MINI.name and all(step.name in known for step in steps):
        generated = sum(step_work(known[step.name])[0].seen for step in steps)
        usual = f', and on the generated data {generated:,}'
    yield f'together {seen:,} images seen in a seed{usual}'


def refuse_too_few(suite: Suite, rows: Sequence[Row], data: OwnData) -> None:
    """Stop where own data have too few images for a single step of training.

    Raises:
        UserError: naming the run that needs the fewest images of those that have too few.
    """
    short = []
    for step in suite.steps_of(rows):
        work, root = step_work(step, data)
        if not work.seen or not work.images:
            every = raw_config(step.config, step.options).train_dataloader.dataset.get('every', 1)
            # with one in ten used, the last ten need not be whole
            needed = 1 if work.seen else every * (work.step - 1) + 1
            used = f', one in {every} is used' if every > 1 else ''
            short.append((needed, step.name, root, f'{work.step} in a step{used}'))
    if not short:
        return
    needed, name, root, how = min(short, key=lambda found: found[0])
    ablations = {row.table for row in rows if row.step == name} - {'main'}
    instead = '; --tables main leaves such rows out' if ablations else ''
    raise UserError(
        f'{root} has {data.size(root)} training images, too few for {name}, which '
        f'needs {needed} ({how}){instead}'
    )


def step_work(step: Step, data: OwnData | None = None) -> tuple[Work, str]:
    """A step's arithmetic, and the folder of its data as the config names it."""
    cfg = raw_config(step.config, step.options)
    root = train_root(cfg)
    return work_of(cfg, data.size(root) if data else None), root


@dataclass(frozen=True)
class Throughput:
    """Images a second of one GPU by :func:`workload`, and whether in mixed precision.

    source: the file and the GPU, for the reader.
    """

    rates: Mapping[tuple[str, bool], float] = field(default_factory=dict)
    source: str = NOT_MEASURED

    def gpu_hours(self, key: str, mixed: bool, work: Work) -> float | None:
        """GPU hours of a run, or None if its training step was not measured in its precision."""
        rate = self.rates.get((key, mixed))
        return work.seen / rate / 3600 if rate else None


def read_throughput(path: str | None = None) -> Throughput:
    """Figures of ``tools/benchmark.py --suite paper --out FILE``, measured on a GPU.

    Raises:
        UserError: if the file is not one of these, or was not measured on a GPU.
    """
    if path is None:
        return Throughput()
    try:
        content = json.loads(Path(path).read_text())
        # emulated arithmetic does not count
        rates = {
            (figure['workload'], figure['dtype'] != 'float32'): float(figure['images_per_second'])
            for figure in content['figures']
            if figure['counts']
        }
        device, gpu = (content['environment'].get(key) for key in ('device', 'gpu'))
        if content['size'] != 'full':
            raise ValueError(content['size'])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f'{path} is no file of tools/benchmark.py --suite paper --out ({error!r})'
        ) from error
    if device == 'cpu' or not gpu:
        raise UserError(f'{path} was measured without a GPU: GPU hours cannot be told from it')
    return Throughput(rates, f'{path} ({gpu})')
