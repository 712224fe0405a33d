"""Read a config and check it: old names, options, folders, classes, channels, loaders."""

from __future__ import annotations

import copy
import logging
import shlex
from collections.abc import Iterable, Iterator, Mapping
from traceback import walk_tb
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log

from ..errors import UserError
from ..text import one_line
from ..unexpected import UNFIT, account_of
from .classes import apply_classes
from .parts import (
    LOADERS,
    PACKED,
    data_folder,
    import_named_libraries,
    teacher_place,
    teachers_in,
)
from .project import find_config, refuse_old_config
from .unread import check_options


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
    try:
        cfg = Config.fromfile(find_config(path))
    except FileNotFoundError as error:  # a file that it begins from
        refuse_old_config(str(error))
        raise
    except (UserError, ImportError, MemoryError):
        raise
    except Exception as error:  # of the lines of a config
        raise UserError(f'{path} cannot be read: {_in_its_file(error)}') from error
    unread: list[str] = []
    try:
        if options:
            as_it_was = copy.deepcopy(cfg)
            inside = [key for key in options if any(key.startswith(f'{o}.') for o in options)]
            cfg.merge_from_dict({key: v for key, v in options.items() if key not in inside})
            cfg.merge_from_dict({key: options[key] for key in inside})  # a step of a given pipeline
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


def _in_its_file(error: Exception) -> str:
    """What went wrong, and where: mmengine parses text, so that Python knows no file's name."""
    if isinstance(error, SyntaxError):
        names = [frame.f_locals.get('filename') for frame, _ in walk_tb(error.__traceback__)]
        error.filename = [name for name in names if name and name != error.filename][-1]
    return account_of(error).line


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
    """Replace the leading folder of every path in a config, in place; a new tuple for a tuple."""
    if isinstance(value, dict):
        for key in value:
            value[key] = _rebase(value[key], folders)
    elif isinstance(value, list):
        value[:] = [_rebase(item, folders) for item in value]
    elif isinstance(value, tuple):
        return tuple(_rebase(item, folders) for item in value)
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


#: Preprocessors that exchange the first and the third channel, however many there are.
_SWAPPING = {'ImgDataPreprocessor', 'DetDataPreprocessor', 'SelfSupDataPreprocessor'}


def image_channels(model: Mapping[str, Any]) -> int:
    """Channels of the images that a task model's or autoencoder's config takes; 3 if not said."""
    backbone = model.get('backbone')
    channels = (backbone if isinstance(backbone, Mapping) else model).get('in_channels', 3)
    return channels if isinstance(channels, int) else 3


def check_channels(cfg: Config) -> None:
    """Compare ``in_channels`` with the mean and std of the preprocessor, and with the teacher's.

    Raises:
        UserError: naming both entries.
    """
    model = cfg.get('model')
    if not isinstance(model, Mapping):
        return
    sides = [('model', model)]
    for name, teacher in teachers_in(cfg.get('distillation')).items():
        if teacher.get('type') == 'MAETeacher':  # others name a config, or read images of their own
            sides.append((teacher_place(name), teacher))
    channels = {place: image_channels(part) for place, part in sides}
    (place, number), *others = channels.items()
    for other, theirs in others:
        if theirs != number:
            raise UserError(
                f'{place}.in_channels={number} and {other}.in_channels={theirs}: both see the same '
                'images'
            )
    inside = f'{place}.backbone' if 'backbone' in model else place
    for name, settings in _preprocessors(cfg, model):
        if not isinstance(settings, Mapping):
            continue
        for key in ('mean', 'std'):
            values = settings.get(key)
            if isinstance(values, (list, tuple)) and len(values) not in (1, number):
                raise UserError(
                    f'{name}.{key} has {len(values)} values and {inside}.in_channels is {number}: '
                    f'give {number}, one for each channel'
                )
        kind = str(settings.get('type')).rpartition('.')[2]
        swaps = [key for key in ('bgr_to_rgb', 'rgb_to_bgr') if settings.get(key)]
        if kind in _SWAPPING and number != 3 and swaps:
            raise UserError(
                f'{name}.{swaps[0]} is for images of 3 channels and {inside}.in_channels is '
                f'{number}: set it to False'
            )


def _preprocessors(cfg: Config, model: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield 'data_preprocessor', cfg.get('data_preprocessor')
    yield 'model.data_preprocessor', model.get('data_preprocessor')


_LOSS = 'distillation.losses.loss_tokens'
_EXAMPLE = 'a tap and a loss of their own, as in configs/ablations/g2sd_vits_generic_{}.py'
#: Entry of ``model`` in stage 1 -> what says it now.
_MOVED = {
    'student': 'model',
    'teacher': 'distillation.teacher',
    'target_block': 'distillation.teacher.until=decoder_blocks.N, with N counted from 0',
    'supervise': f'{_LOSS}.tokens',
    'beta': f'{_LOSS}.beta',
    'encoder_weight': _EXAMPLE.format('encoder'),
    'relation_weight': _EXAMPLE.format('relation'),
    'relation_heads': _EXAMPLE.format('relation'),
}


def refuse_old_names(cfg: Any) -> None:
    """Raise UserError for the first word of an earlier version in a config, options merged."""
    model = cfg.get('model') or {}
    if model.get('type') == 'GenericDistiller':
        raise UserError(
            f'{getattr(cfg, "filename", None) or "the config"} has model.type=GenericDistiller: it '
            "is now model.type=MaskedStudent with a distillation block whose teacher is of "
            "type='MAETeacher', as in configs/imagenet/g2sd_vits_generic.py"
        )
    if model.get('type') == 'MaskedStudent':
        for old in (key for key in _MOVED if key in model):
            inside = model[old]
            below = [f'.{key}' for key in inside] if isinstance(inside, Mapping) else ['']
            names = ', '.join(f'model.{old}{key} is now {_MOVED[old]}{key}' for key in below)
            raise UserError(f'{names}: change the name')
    for name, loss in ((cfg.get('distillation') or {}).get('losses') or {}).items():
        if loss and 'normalise' in loss and loss.get('type') == 'SmoothL1FeatureLoss':
            raise UserError(
                f'distillation.losses.{name}.normalise is now distillation.losses.{name}.target: '
                "'layernorm' for True, 'none' for False"
            )
    for hook in cfg.get('custom_hooks') or ():
        if hook.get('type') == 'TeacherLabelsHook':
            raise UserError(
                "custom_hooks: TeacherLabelsHook is now TeacherAnswersHook with by='step'"
            )


def is_old_stage1_run(names: Iterable[str]) -> bool:
    """Whether a training checkpoint's parameters are those of a ``GenericDistiller``."""
    names = list(names)
    return any(n.startswith('decoderfeature_pred.') for n in names) and any(
        n.startswith('student.decoder_blocks.') for n in names
    )
