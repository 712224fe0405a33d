"""Do the channels of network, normalisation and teacher agree? Asked before anything is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

from ..errors import UserError

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
    teacher = (cfg.get('distillation') or {}).get('teacher') or {}
    sides = [('model', model)]
    if teacher.get('type') == 'MAETeacher':  # others name a config, or read images of their own
        sides.append(('distillation.teacher', teacher))
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
