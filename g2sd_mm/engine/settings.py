"""What a config says of the model and its losses, and what of it changed since a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

#: Entry of a checkpoint's ``meta``: the settings by their places in the config.
SETTINGS = 'model_settings'
#: Entries that say where weights come from before training, or what is done after it.
_ELSEWHERE = {'init_cfg', 'pretrained', 'checkpoint', 'config', 'test_cfg'}
_MOST = 5  # lines; a model that is another one would have hundreds


def model_settings(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Place in the config -> value, of a model with its distillation.

    Args:
        cfg: as ``distill_config`` makes it, or plain.
    """
    model = cfg.get('model') or {}
    if model.get('type') != 'SpecificDistiller':
        return dict(_settings(model, 'model'))
    distillation = {key: part for key, part in model.items() if key not in ('type', 'student')}
    student = dict(_settings(model['student'], 'model'))
    return student | dict(_settings(distillation, 'distillation'))


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


def _settings(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            if key not in _ELSEWHERE:
                yield from _settings(part, f'{place}.{key}')
    elif isinstance(value, (list, tuple)):
        for number, part in enumerate(value):
            yield from _settings(part, f'{place}.{number}')
    elif isinstance(value, (int, float, str)) and '/' not in str(value):  # folders can be moved
        yield place, value
