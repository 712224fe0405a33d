"""The range that a depth head predicts in: no parameter, but weights mean nothing without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from ..config.parts import network_of

#: Entries of a depth head, in metres -> their values.
Range = dict[str, float]

_ENDS = ('min_depth', 'max_depth')


def depth_range(cfg: Mapping[str, Any]) -> Range:
    """The range of the decode head of a config's network; empty if it has none."""
    head = network_of(cfg).get('decode_head')
    ends = {name: head.get(name) for name in _ENDS} if isinstance(head, Mapping) else {}
    return {name: float(end) for name, end in ends.items() if isinstance(end, (int, float))}


def follow_range(cfg: Config, trained: Range, source: str, name: str) -> tuple[str, ...]:
    """Let a config's depth head predict in the range that its weights were trained in, in place.

    Args:
        cfg: loaded config.
        trained: of the weights; empty if they do not say.
        source: of ``trained``, for messages.
        name: of the config, for messages.

    Returns:
        a line for the log if the config had another range.
    """
    here = depth_range(cfg)
    differing = {end: metres for end, metres in trained.items() if here.get(end) != metres}
    if not differing:
        return ()
    network_of(cfg)['decode_head'].update(differing)
    return (
        f'the weights were trained to predict {shown(trained)} ({source}), {name} says '
        f'{shown(here)}: they go on predicting {shown(trained)}',
    )


def shown(metres: Range) -> str:
    """A range in words."""
    return ' to '.join(f'{end:g}' for end in metres.values()) + ' m'
