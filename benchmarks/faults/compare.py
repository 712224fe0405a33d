"""Did a disturbed run end where the undisturbed one did, to the last bit?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from g2sd_mm.checkpoints import read_weights
from g2sd_mm.checkpoints.integrity import newest_whole
from g2sd_mm.compat.safe_load import load_checkpoint

#: Parts of a training checkpoint that training goes on from. (Logs have times in them.)
_STATE = ('state_dict', 'optimizer', 'param_schedulers')


def differences(one: Path, two: Path) -> list[str]:
    """What differs between the ends of two runs: weights, best weights, optimizer, schedules."""
    found = []
    for name in ('weights.pth', 'best_weights.pth'):
        if (one / name).is_file() != (two / name).is_file():
            found.append(f'{name} is in one of both')
        elif (one / name).is_file():
            states = [read_weights(folder / name).state for folder in (one, two)]
            found += [f'{name}: {place}' for place in _unequal(*states)]
    last = [load_checkpoint(newest_whole(folder)[0]) for folder in (one, two)]
    for part in _STATE:
        found += [f'{part}: {place}' for place in _unequal(last[0][part], last[1][part])]
    for count in ('epoch', 'iter'):
        if last[0]['meta'][count] != last[1]['meta'][count]:
            found.append(f'{count}s: {last[0]["meta"][count]} and {last[1]["meta"][count]}')
    return found


def _unequal(one: Any, two: Any, place: str = '') -> Iterator[str]:
    if isinstance(one, dict) and isinstance(two, dict):
        if one.keys() != two.keys():
            yield f'{place}: names'
            return
        for key, value in one.items():
            yield from _unequal(value, two[key], f'{place}.{key}' if place else str(key))
    elif isinstance(one, (list, tuple)) and isinstance(two, (list, tuple)):
        if len(one) != len(two):
            yield f'{place}: lengths'
            return
        for number, (a, b) in enumerate(zip(one, two, strict=True)):
            yield from _unequal(a, b, f'{place}[{number}]')
    elif isinstance(one, torch.Tensor):
        if one.dtype != two.dtype or not torch.equal(_bits(one), _bits(two)):
            yield place
    elif one != two:
        yield place


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)
