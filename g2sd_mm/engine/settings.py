"""What a config says of the model and its losses, and what of it changed since a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..config.flat import as_written, flat

#: Entry of a checkpoint's ``meta``: the settings by their places in the config.
SETTINGS = 'model_settings'
#: Entries that say where weights come from before training, or what is done after it.
_ELSEWHERE = {'init_cfg', 'pretrained', 'checkpoint', 'config', 'test_cfg'}
_PARTS = 'model', 'distillation', 'data_preprocessor'
_MOST = 5  # lines; a model that is another one would have hundreds


def model_settings(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Place in the config -> value, of a model with its distillation.

    Args:
        cfg: as ``distill_config`` makes it, or plain.
    """
    written = as_written(cfg)
    parts = {key: written[key] for key in _PARTS if key in written}
    return {
        place: str([*value]) if isinstance(value, (list, tuple)) else value
        for place, value in flat(parts, _ELSEWHERE)
        # folders can be moved
        if isinstance(value, (int, float, str, list, tuple)) and '/' not in str(value)
    }


def changed_settings(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A line for the log for each place with another value."""
    places = [place for place in {**was, **now} if was.get(place) != now.get(place)]
    lines = [
        f'changed since the checkpoint: {place}: {was.get(place, "not set")}, now '
        f'{now.get(place, "not set")}'
        for place in places[:_MOST]
    ]
    if len(places) > _MOST:
        lines.append(f'changed since the checkpoint: {len(places) - _MOST} more entries of these')
    return lines
