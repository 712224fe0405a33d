"""Short runs on the embedded data: both stages and all three tasks, with everything random in them.

Networks are narrow; data steps, mixing, stochastic depth, loss warm-ups, accumulation, loader
workers, validation and schedules are those of the demo's configs.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from g2sd_mm.config.load import load_config
from g2sd_mm.config.load import load_config as read_config
from g2sd_mm.config.parts import plain_model
from g2sd_mm.datasets.shapes import ensure_shapes
from tests.helpers.small_configs import shrink
from tests.helpers.toys import ROOT, save

#: Task -> config whose toy version is run.
CONFIGS = {
    'stage1': 'g2sd_vits_generic',
    'cls': 'g2sd_vits_cls',
    'det': 'g2sd_vits_maskrcnn',
    'seg': 'g2sd_vits_upernet',
}
_SETS = {
    'cls': dict(task='cls', train=40, val=16, size=64, seed=0),
    'scenes': dict(task='seg', train=24, val=4, size=128, seed=0),
}
_BATCH = {'stage1': 8, 'cls': 8, 'det': 2, 'seg': 4}
#: Images of an iteration that a run is resumed with, to change them.
OTHER_BATCH = {'stage1': 4, 'cls': 4, 'det': 4, 'seg': 2}


@dataclass(frozen=True)
class Task:
    """A run to be disturbed.

    Attributes:
        name: stage1, cls, det or seg.
        config: file that ``tools/train.py`` takes.
        world: processes.
    """

    name: str
    config: str
    world: int = 1


def make_tasks(
    folder: Path, names: Mapping[str, int], hooks: Sequence[dict] = (), **changes: Any
) -> dict[str, Task]:
    """Write data, teachers and configs into a folder.

    Args:
        folder: becomes ``G2SD_DATA`` and holds the rest too.
        names: task -> processes it runs on; the batch of all of them together is the same.
        hooks: further hooks for all of them.
        changes: config options for all of them.
    """
    import_libraries()
    with data_in(folder):
        for name in {'scenes' if task in ('det', 'seg') else 'cls' for task in names}:
            ensure_shapes(folder / 'shapes', **_SETS[name])
        return {name: _task(folder, name, world, hooks, changes) for name, world in names.items()}


def import_libraries() -> None:
    """Before the first fork, so that no child has to."""
    for module in ('mmpretrain.utils', 'mmdet.utils', 'mmseg.utils'):
        importlib.import_module(module).register_all_modules(init_default_scope=False)


@contextmanager
def quick_folder() -> Iterator[Path]:
    """A folder in memory where there is one, since many small files are waited for."""
    memory = Path('/dev/shm')
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@contextmanager
def data_in(folder: Path) -> Iterator[None]:
    """``G2SD_DATA`` for the block."""
    before = os.environ.get('G2SD_DATA')
    os.environ['G2SD_DATA'] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ['G2SD_DATA']
        else:
            os.environ['G2SD_DATA'] = before


def _task(
    folder: Path, name: str, world: int, hooks: Sequence[dict], changes: Mapping[str, Any]
) -> Task:
    cfg = shrink(load_config(str(ROOT / 'configs' / 'shapes' / f'{CONFIGS[name]}.py')))
    _use_little_data(cfg, name, world)
    _give_teacher(cfg, name, folder)
    if cfg.model.get('backbone'):
        cfg.model.backbone.init_cfg = None
    if name == 'cls':
        cfg.model.train_cfg = dict(
            augments=[dict(type='FlipMixup', alpha=0.8), dict(type='FlipCutMix', alpha=1.0)]
        )
        cfg.model.backbone.drop_path_rate = 0.1
    if name in ('stage1', 'cls'):
        cfg.train_cfg.max_epochs = 3
        cfg.param_scheduler[0].warmup = 1
    else:
        cfg.train_cfg.update(max_iters=9, val_interval=9)
        cfg.param_scheduler[0].warmup = 3
        cfg.default_hooks.checkpoint.update(interval=3, by_epoch=False)
    if name == 'cls':
        cfg.train_cfg.val_interval = 1
    if name in ('stage1', 'cls'):
        cfg.default_hooks.checkpoint.interval = 1
    if name == 'seg':
        cfg.model.data_preprocessor.test_cfg = dict(size_divisor=8)
    if name == 'stage1':
        # five steps an epoch: every other epoch ends in the middle of an update
        cfg.optim_wrapper.accumulative_counts = 2
        cfg.param_scheduler[0].accumulation = 2
    cfg.default_hooks.logger.interval = 1
    cfg.log_level = 'INFO'
    cfg.custom_hooks = [*cfg.custom_hooks, *hooks]
    cfg.merge_from_dict(dict(changes))
    path = folder / f'{name}_{world}.py'
    cfg.dump(path)
    return Task(name, str(path), world)


def _use_little_data(cfg: Config, name: str, world: int) -> None:
    small = _SETS['scenes' if name in ('det', 'seg') else 'cls']
    old = '800+200' if name in ('det', 'seg') else '4000+1000'
    text = cfg.pretty_text.replace(old, f'{small["train"]}+{small["val"]}')
    fresh = Config.fromstring(text, '.py')
    cfg._cfg_dict.clear()
    cfg.merge_from_dict(fresh._cfg_dict.to_dict())
    cfg.shapes = dict(small, task='cls' if name == 'stage1' else name)
    cfg.train_dataloader.batch_size = _BATCH[name] // world
    if cfg.get('val_dataloader'):
        cfg.val_dataloader.batch_size = 4


def _give_teacher(cfg: Config, name: str, folder: Path) -> None:
    """Initialised weights in a file, so that all runs of a task have the same."""
    path = folder / f'{name}_teacher.pth'
    torch.manual_seed(1)
    if name == 'stage1':
        from g2sd_mm.models.mae import MaskedAutoencoder

        block = cfg.distillation.teacher
        teacher = MaskedAutoencoder(**{key: block[key] for key in ('arch', 'decoder', 'img_size')})
    else:
        block = cfg.distillation.teacher
        teacher_cfg = Config(block.config) if isinstance(block.config, dict) else read_config(
            block.config
        )
        teacher_cfg.merge_from_dict(block.get('overrides') or {})
        with DefaultScope.overwrite_default_scope(teacher_cfg.default_scope):
            teacher = MODELS.build(_without_init(plain_model(teacher_cfg)))
    teacher.init_weights()
    block.checkpoint = save(path, teacher)


def _without_init(model: Any) -> Any:
    model.backbone.init_cfg = None
    return model
