"""Files with two sets of weights: those of training, and their moving average (EMA)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from ..compat.safe_load import CheckpointError

#: Which of the two sets.
Which = Literal['raw', 'ema']

# Where training loops keep the average: timm; DeiT, ConvNeXt and torchvision; mmengine; others.
_AVERAGED = ('state_dict_ema', 'model_ema', 'ema_state_dict', 'ema_model', 'ema', 'module_ema')
_COUNTERS = ('steps', 'n_averaged', 'num_updates', 'updates', 'decay')
_IN_NAMES = 'ema_'  # mmcv 1: buffers of the model, with underscores for dots


def choose(
    content: Any, main: Any, which: Which | None, path: str
) -> tuple[Any, str]:
    """The set of weights that is asked for, of a file that may have two.

    Args:
        content: of the file.
        main: the state dict where files keep their only one.
        which: None for the one that lies there.
        path: of the file, for messages.

    Returns:
        the state dict, and a sentence on which set it is; empty if the file has only one.

    Raises:
        CheckpointError: if it lacks the set that is asked for.
    """
    sets, key = _sets(content, main)
    if len(sets) < 2:
        if which == 'ema' and 'ema' not in sets:
            raise CheckpointError(
                f'{path} has no averaged weights (none of {", ".join(_AVERAGED)}): leave '
                '--weights out'
            )
        if which == 'raw' and 'raw' not in sets and 'ema' in sets:
            raise CheckpointError(f'{path} has averaged (EMA) weights alone ({key})')
        return next(iter(sets.values()), main), ''
    standing = next(name for name, state in sets.items() if state is main or key == _IN_NAMES)
    chosen = which or standing
    other = 'raw' if chosen == 'ema' else 'ema'
    called = {'raw': 'raw', 'ema': 'averaged (EMA)'}
    return sets[chosen], (
        f'it has raw and averaged (EMA) weights ({key}): the {called[chosen]} ones are taken; '
        f'for the others: python tools/checkpoint.py convert {shlex.quote(path)} OUT.pth --to '
        f'same --weights {other}'
    )


def _sets(content: Any, main: Any) -> tuple[dict[str, Any], str]:
    """The sets that there are, and the key or prefix of the averaged one."""
    if isinstance(main, Mapping) and (inside := _in_names(main)):
        # mmcv swaps before it saves: the network's own names have the average
        buffers = set(inside.values())
        plain = {name: tensor for name, tensor in main.items() if name not in buffers}
        raw = plain | {name: main[buffer] for name, buffer in inside.items()}
        return {'ema': plain, 'raw': raw}, _IN_NAMES
    keys = [k for k in _AVERAGED if isinstance(content, Mapping) and _is_state(content.get(k))]
    if not keys:
        return ({'raw': main} if _is_state(main) else {}), ''
    beside = {k: v for k, v in content[keys[0]].items() if k not in _COUNTERS}
    if not _is_state(main) or main is content:
        return {'ema': beside}, keys[0]
    if keys[0] == 'ema_state_dict' and 'message_hub' in content:  # mmengine swaps, too
        return {'ema': main, 'raw': beside}, keys[0]
    return {'raw': main, 'ema': beside}, keys[0]


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(item, Tensor) for item in value.values())


def _in_names(state: Mapping[Any, Any]) -> dict[str, str]:
    """Names of the network -> the buffers that hold their other set."""
    names = {str(name).replace('.', '_'): name for name in state if '.' in str(name)}
    found = {
        names[name[len(_IN_NAMES) :]]: name
        for name in state
        if isinstance(name, str) and name.startswith(_IN_NAMES) and name[len(_IN_NAMES) :] in names
    }
    return found if len(found) > 1 else {}
