"""Options that nothing would read: a misspelt key silently adds an entry that no code looks for.

A part with a ``type`` checks its arguments when it is built. What is looked at here is the rest:
top-level names, named parts (hooks, losses, adapters), and mappings that are read by ``get``.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from ..errors import UserError
from ..text import some
from .parts import entries

#: Top-level names that mmengine or this project reads beside the arguments of ``Runner``.
_READ = (
    'backend_args', 'boxes_only', 'classes', 'classes_by_position', 'custom_imports',
    'data_layout', 'distillation', 'find_unused_parameters', 'model_wrapper_cfg', 'num_classes',
    'online_knn', 'reliability', 'row', 'runner_type', 'shapes', 'students', 'tta_model',
    'tta_pipeline',
)  # fmt: skip
#: Names that something reads.
_TOP_LEVEL = {*inspect.signature(Runner.__init__).parameters, *_READ} - {'self', 'cfg'}
#: Mappings whose entries are parts with a ``type``, under names that a config chooses.
_PARTS = ('default_hooks', 'adapters', 'losses')
#: Mappings whose keys are a config's choice: names of taps, of parameters, of places.
_FREE = ('custom_keys', 'metainfo', 'overrides', 'taps', 'vars')
#: Keys that are read without an entry in the config; of :data:`_COMPLETE` no others are.
_KNOWN = {
    'auto_scale_lr': ('base_batch_size', 'enable'),
    'default_hooks': (
        'checkpoint', 'logger', 'param_scheduler', 'runtime_info', 'sampler_seed', 'timer',
        'visualization',
    ),
    'distillation': (
        'adapters', 'losses', 'taps', 'teacher', 'teacher_drop', 'teacher_patches', 'teachers',
    ),
    'env_cfg': ('cudnn_benchmark', 'dist_cfg', 'mp_cfg', 'resource_limit'),
    'online_knn': (
        'crop_share', 'data', 'interval', 'k', 'size', 'temperature', 'train_images', 'val_images',
    ),
    'randomness': ('deterministic', 'diff_rank_seed', 'seed'),
    'paramwise_cfg': (
        'base_total_batch_size', 'bias_decay_mult', 'bias_lr_mult', 'bypass_duplicate',
        'custom_keys', 'dcn_offset_lr_mult', 'dwconv_decay_mult', 'flat_decay_mult',
        'layer_decay_rate', 'norm_decay_mult', 'num_layers',
    ),
}  # fmt: skip
_COMPLETE = ('auto_scale_lr', 'env_cfg', 'online_knn', 'randomness')
#: How alike two keys are, from 0 to 1, where one is taken for the other misspelt.
_ALIKE = 0.82


def check_options(cfg: Config, options: Mapping[str, Any]) -> list[str]:
    """Look for options of a config that would not do anything.

    Args:
        cfg: as its file says, without the options.
        options: dotted key -> value.

    Returns:
        a line for the log for each that may be read by nothing.

    Raises:
        UserError: for an option that is close to what the config has, with that key; and for a part
            that is not there and gets no ``type``.
    """
    typed = {key.rpartition('.')[0] for key in options if key.endswith('.type')}
    notes = []
    for key, value in options.items():
        if key.partition('.')[0] not in _TOP_LEVEL:
            notes.append(_at_top(cfg, key, value, options))
        elif wrong := _misspelt(cfg, key.split('.'), value, typed):
            raise UserError(f'--cfg-options {key}: {wrong}')
    return [note for note in notes if note]


def _misspelt(cfg: Config, parts: list[str], value: Any, typed: set[str]) -> str:
    """Which part of a key is not there and close to one that is; empty if there is none."""
    holder: Any = cfg._cfg_dict
    for depth, part in enumerate(parts):
        if isinstance(holder, Mapping) and part in holder:
            holder = holder[part]
        elif not depth:  # a config need not have it
            holder = {}
        else:
            break
    else:
        return ''
    above, name = '.'.join(parts[:depth]), parts[depth - 1]
    # lists say themselves what they lack, and so does a part with a type when it is built
    if not isinstance(holder, Mapping) or above in typed or {'type', '_delete_'} & set(holder):
        return ''
    known = [*holder, *_KNOWN.get(name, ())]
    if name in _FREE or part in known:
        return ''
    near = _nearest(part, known)
    advice = ''
    if name in _PARTS:
        is_whole = depth == len(parts) - 1
        has_type = is_whole and isinstance(value, Mapping) and 'type' in value
        if has_type or f'{above}.{part}' in typed:
            return ''
        near = near or some(sorted(set(known)), 8)
        advice = '' if is_whole else f'; a new one needs {above}.{part}.type'
    if not near:  # whoever reads these would say no more than that the call does not fit
        complete = depth == 1 and name in _COMPLETE
        return f'nothing reads {part} there; it may have {", ".join(known)}' if complete else ''
    meant = '.'.join([above, near, *parts[depth + 1 :]])
    return f'{above} has no {part}; did you mean {meant}?{advice}'


def _at_top(cfg: Config, key: str, value: Any, options: Mapping[str, Any]) -> str:
    """Of an option whose first name nothing reads."""
    first, _, rest = key.partition('.')
    is_variable = first in cfg
    near = '' if is_variable else _nearest(first, [*_TOP_LEVEL, *cfg])
    if near:
        meant = '.'.join(filter(None, [near, rest]))
        raise UserError(f'--cfg-options {key}: nothing reads {first}; did you mean {meant}?')
    places = [place for place, _ in _items(cfg) if place.endswith(f'.{key}')]
    if is_variable:
        copies = places or [
            place for place, item in _items(cfg) if '.' in place and item and item == cfg[first]
        ]
        if not copies or any(option in copies for option in options):
            return ''
        return (
            f'--cfg-options {key} changes a variable of the config file, which was used when the '
            f'file was read: what runs is {some(copies, 4)}'
        )
    if places:
        raise UserError(
            f'--cfg-options {key}: nothing reads {first} there; did you mean {some(places, 4)}?'
        )
    return f'--cfg-options {key}: nothing of this project or its libraries reads {first}'


def _nearest(part: str, known: Any) -> str:
    """The key that a misspelt one stands for; numbered siblings are no misspellings."""
    plain = part.rstrip('0123456789')
    near = difflib.get_close_matches(part, [str(key) for key in known], n=1, cutoff=_ALIKE)
    return near[0] if near and near[0].rstrip('0123456789') != plain else ''


def _items(cfg: Config) -> Iterator[tuple[str, Any]]:
    """Dotted places below the top-level names that something reads, and what is there."""
    for name in sorted(_TOP_LEVEL):
        if name in cfg:
            yield from entries(cfg[name], name)
