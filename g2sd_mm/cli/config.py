"""Fit a config to this machine: data, precision, compiling. What commands need of configs."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import torch
from mmengine import fileio
from mmengine.config import Config, ConfigDict

from ..config_parts import data_folder, innermost_dataset
from ..configuration import UNFIT, load_config
from ..datasets.shapes import ensure_shapes
from ..engine.autocast import MIXED, mixed_dtype
from ..errors import UserError
from ..wording import one_line

__all__ = [
    'default_work_dir',
    'load_config',
    'name_run',
    'prepare_data',
    'use_compilation',
    'use_mixed_precision',
    'use_strict_loading',
    'use_test_data',
    'use_test_time_augmentation',
]

_RUNS = itertools.count(1)


def name_run(cfg: Config, config: str) -> None:
    """Give the run a name of its own, in place.

    mmengine's names have seconds in them, and runs of one name in one process share their log.
    """
    cfg.setdefault('experiment_name', f'{Path(config).stem}_{next(_RUNS)}')


def default_work_dir(config: str, runs: str = 'work_dirs') -> str:
    """``work_dirs/<config name>``."""
    return str(Path(runs) / Path(config).stem)


def prepare_data(cfg: Config, loaders: tuple[str, ...]) -> None:
    """Generate the embedded data if the config uses it, then check that all data are there.

    Args:
        cfg: with ``shapes=dict(...)`` for generated data and ``data_layout`` for the message.
        loaders: names of the data loaders that will be used.

    Raises:
        UserError: naming the folder that is missing and how to lay the data out, or the number of
            class folders if it is not the config's, or the entry that describes no data.
    """
    try:
        _prepare(cfg, loaders)
    except UserError:
        raise
    except UNFIT as error:
        entries = ', '.join(name for name in ('shapes', 'data_layout', *loaders) if cfg.get(name))
        raise UserError(
            f'the config describes no data in {entries}: {one_line(error)}'
        ) from error


def _prepare(cfg: Config, loaders: tuple[str, ...]) -> None:
    if cfg.get('shapes'):
        ensure_shapes(Path(data_folder()) / 'shapes', **cfg.shapes)
    for name in loaders:
        if not cfg.get(name):
            continue
        dataset = innermost_dataset(cfg[name].dataset)
        root = str(dataset.get('data_root', '.'))
        if not fileio.isdir(root):
            layout, folder = cfg.get('data_layout', root), Path(root)
            data = Path(data_folder())
            inside = folder.relative_to(data).parts if folder.is_relative_to(data) else ()
            raise UserError(
                f'no data at {root}: lay it out as {layout}'
                + (f', or point G2SD_DATA at the folder that holds {inside[0]}' if inside else '')
            )
        if dataset.get('type') == 'CustomDataset' and dataset.get('with_label', True):
            _check_classes(root, dataset, cfg)


def _check_classes(root: str, dataset: ConfigDict, cfg: Config) -> None:
    if dataset.get('ann_file'):
        return  # classes come from a list, not from folders
    prefix = dataset.get('data_prefix') or ''
    prefix = prefix if isinstance(prefix, str) else prefix.get('img_path', '')
    root = fileio.join_path(root, prefix) if prefix else root
    if not fileio.isdir(root):
        raise UserError(f'no data at {root}')
    found = sum(1 for _ in fileio.list_dir_or_file(root, list_file=False))
    expected = cfg.get('num_classes')
    if expected and found != expected:
        raise UserError(
            f'{root} has {found} class folders and the config num_classes={expected}: '
            f'add --cfg-options num_classes={found}'
        )


def use_test_data(cfg: Config, path: str) -> None:
    """Take test data and metric from another config, in place.

    Raises:
        UserError: if there is no such config, or it has no test data.
    """
    other = load_config(path)
    if not other.get('test_dataloader'):
        raise UserError(f'--data {path} has no test data')
    for key in ('test_dataloader', 'test_evaluator', 'data_layout', 'shapes'):
        cfg[key] = other.get(key)


def use_mixed_precision(cfg: Config) -> None:
    """bfloat16 autocast where the GPU has it, else float16 with a scaler; in place.

    A teacher, which autocast does not reach, runs in that precision unless the config has its own.

    Raises:
        UserError: without a GPU.
    """
    if not torch.cuda.is_available():
        raise UserError(
            '--amp needs a GPU and there is none; on a CPU with fast bfloat16 use '
            '--cfg-options optim_wrapper.type=AutocastOptimWrapper'
        )
    dtype = mixed_dtype('cuda')
    cfg.optim_wrapper.update(dict(MIXED[dtype]))
    places: tuple[Any, ...] = (cfg.model, cfg.get('distillation') or {})
    for place in places:
        if place.get('teacher'):
            place.teacher.setdefault('dtype', dtype)


def use_strict_loading(cfg: Config) -> None:
    """Load ``load_from`` by our own rules, and check a resumed checkpoint by them, in place.

    mmengine would take what fits from either, and skip the rest.
    """
    start = None if cfg.get('resume') else cfg.get('load_from')
    if start:
        cfg.load_from = None
    hook = dict(type='StrictLoadingHook', start=start)
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]


def use_compilation(cfg: Config, compiled: bool | None) -> None:
    """Compile transformer blocks: always, never, or (None) with a GPU; in place."""
    if compiled is not False:
        hook = dict(type='CompileHook', on_cpu=bool(compiled))
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]


def use_test_time_augmentation(cfg: Config) -> None:
    """Wrap the model and the pipeline in the config's test-time augmentation.

    Raises:
        UserError: if the config has none.
    """
    if not cfg.get('tta_model') or not cfg.get('tta_pipeline'):
        raise UserError('--tta needs tta_model and tta_pipeline in the config')
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
