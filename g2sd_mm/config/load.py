"""Read a config: options, folders of data and runs, number of classes, loaders."""

from __future__ import annotations

import copy
import logging
import shlex
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log

from ..errors import UserError
from ..text import one_line
from .channels import check_channels
from .classes import apply_classes
from .old_names import refuse_old_names
from .parts import LOADERS, PACKED, data_folder, import_named_libraries
from .project import find_config
from .unread import check_options

#: What a value of the wrong kind in a config makes code raise.
UNFIT = (KeyError, TypeError, IndexError, AttributeError, ValueError, AssertionError)


def load_config(
    path: str,
    options: dict[str, Any] | None = None,
    runs: str = 'work_dirs',
    notes: list[str] | None = None,
) -> Config:
    """Read a config file and merge ``--cfg-options`` into it.

    Args:
        path: config file, as :func:`~g2sd_mm.config.project.find_config` takes it.
        options: dotted key -> value.
        runs: folder that takes the place of ``work_dirs/`` wherever the config names weights of
            another run, so that a suite's runs find each other in a folder of their own.
        notes: is given the lines about options that nothing may read; None to log them now.

    Raises:
        UserError: if there is no such file, or an option does not fit, is misspelt, or has an old
            name.
    """
    cfg = Config.fromfile(find_config(path))
    unread: list[str] = []
    try:
        if options:
            as_it_was = copy.deepcopy(cfg)
            cfg.merge_from_dict(options)
            refuse_old_names(cfg)
            unread = check_options(as_it_was, options)
        refuse_old_names(cfg)
        _settle(cfg, runs)
    except UserError:
        raise
    except UNFIT as error:
        if not options:
            raise
        raise UserError(
            f'--cfg-options does not fit {path}: {type(error).__name__}: {one_line(error)} '
            f'({shlex.join(["python", "tools/config.py", path])} prints what it has)'
        ) from error
    if notes is not None:
        notes += unread
    else:
        for note in unread:
            print_log(note, logger='current', level=logging.WARNING)
    return cfg


def _settle(cfg: Config, runs: str) -> None:
    """Fit folders, classes and loaders of a merged config, in place."""
    data = data_folder()
    layout = cfg.get('data_layout')  # a sentence, with more than one path in it
    folders = {'data/': f'{data}/', f'{PACKED}data/': f'{PACKED}{data}/', 'work_dirs/': f'{runs}/'}
    _rebase(cfg._cfg_dict, folders)
    if layout:
        cfg.data_layout = layout.replace('data/', f'{data}/')
    apply_classes(cfg)
    check_channels(cfg)
    _fit_loaders(cfg)
    import_named_libraries(cfg)


def _rebase(value: Any, folders: dict[str, str]) -> Any:
    """Replace the leading folder of every path in a config, in place."""
    if isinstance(value, dict):
        for key in value:
            value[key] = _rebase(value[key], folders)
    elif isinstance(value, list):
        value[:] = [_rebase(item, folders) for item in value]
    elif isinstance(value, str):
        for old, new in folders.items():
            if value.startswith(old):
                return new + value.removeprefix(old)
    return value


def _fit_loaders(cfg: Config) -> None:
    """Take out what torch refuses or warns of: keeping no workers alive, pinning for no GPU."""
    for name in LOADERS:
        loader = cfg.get(name)
        if not loader:
            continue
        if not loader.get('num_workers'):
            loader.persistent_workers = False
        if not torch.cuda.is_available():
            loader.pin_memory = False
