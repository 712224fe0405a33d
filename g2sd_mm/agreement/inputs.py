"""What images a network takes: size, normalisation, order of the channels.

Written beside weights as ``inputs``, and compared wherever those are used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..config.parts import LOADERS, innermost_dataset, preprocessor_of

Size = tuple[int, int]

#: Steps that give images of one size, with the argument that has it, and how it is ordered.
_CUTS = {
    'RandomResizedCrop': ('scale', 'hw'),
    'LoadRandomResizedCrop': ('scale', 'hw'),
    'EfficientNetRandomCrop': ('scale', 'hw'),
    'EfficientNetCenterCrop': ('crop_size', 'hw'),
    'RandomCrop': ('crop_size', 'hw'),
    'CenterCrop': ('crop_size', 'wh'),
    'Resize': ('scale', 'wh'),
}
#: Those that cut a part out as it is.
_PLAIN = ('RandomCrop', 'CenterCrop')
_RESIZE = ('Resize', 'RandomResize', 'EfficientNet', 'Pad')
#: In the names of steps that read files, also of somebody's own.
_READS = re.compile('Load|Read|Open|Decode')


@dataclass(frozen=True)
class Cut:
    """What a pipeline makes of an image.

    Attributes:
        size: height and width in pixels that come out; None where they depend on the image.
        as_it_is: whether it cuts them out of the image as it lies in its file, so that a larger one
            is seen in part, and a smaller one stays small.
    """

    size: Size | None = None
    as_it_is: bool = False


def cut_of(pipeline: Iterable[Mapping[str, Any]]) -> Cut:
    """The size that the steps of a classification pipeline lead to."""
    size, resized, as_it_is = None, False, False
    for step in pipeline:
        name = str(step.get('type', '')).rpartition('.')[2]
        if name in _CUTS and not step.get('keep_ratio'):
            key, order = _CUTS[name]
            size = read_size(step.get(key), order)
            padded = step.get('padding') or step.get('pad_if_needed') or step.get('auto_pad')
            as_it_is = name in _PLAIN and not resized and not padded
        resized = resized or name.startswith(_RESIZE) or name.endswith('ResizedCrop')
    return Cut(size, as_it_is)


def read_size(value: Any, order: str = 'hw') -> Size | None:
    """Height and width from one side or two, in that order or as ``wh``; None if it is neither."""
    if isinstance(value, int):
        return value, value
    if isinstance(value, (list, tuple)) and len(value) == 2:
        first, second = value
        return (first, second) if order == 'hw' else (second, first)
    return None


def pipeline_of(cfg: Mapping[str, Any], *loaders: str) -> Sequence[Mapping[str, Any]]:
    """The pipeline of the first of the loaders that the config has."""
    for name in loaders:
        if cfg.get(name):
            return innermost_dataset(cfg[name]['dataset']).get('pipeline') or ()
    return ()


@dataclass(frozen=True)
class Inputs:
    """Images as a network takes them; None for what is not known.

    Attributes:
        size: height and width in pixels, for networks whose images are all of one size.
        mean, std: of the channels, in values of 0 to 255.
        channels: ``RGB`` or ``BGR``.
    """

    size: Size | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    channels: str | None = None

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            'size': self.size and list(self.size),
            'mean': self.mean and list(self.mean),
            'std': self.std and list(self.std),
            'channels': self.channels,
        }


def read_inputs(value: Any) -> Inputs:
    """What :meth:`Inputs.plain` gave, from a file that may say anything."""
    known = value if isinstance(value, Mapping) else {}
    size, channels = known.get('size'), known.get('channels')
    whole = isinstance(size, (list, tuple)) and len(size) == 2 and all(
        type(side) is int and 0 < side <= 1 << 16 for side in size
    )
    return Inputs(
        (size[0], size[1]) if whole and size else None,
        _numbers(known.get('mean')),
        _numbers(known.get('std')),
        channels if channels in ('RGB', 'BGR') else None,
    )


def inputs_of(cfg: Mapping[str, Any], size: Size | None = None) -> Inputs:
    """What a config, as written or distilled, feeds its network.

    Args:
        cfg: mmengine config.
        size: of the images, where they have been seen.
    """
    preprocessor = preprocessor_of(cfg)
    if size is None and cfg.get('default_scope') == 'mmpretrain':
        size = cut_of(pipeline_of(cfg, 'test_dataloader', 'val_dataloader', *LOADERS)).size
    return Inputs(
        size,
        _numbers(preprocessor.get('mean')),
        _numbers(preprocessor.get('std')),
        channel_order(preprocessor, pipeline_of(cfg, *LOADERS)),
    )


def reading(
    pipeline: Sequence[Mapping[str, Any]],
) -> tuple[Mapping[str, Any] | None, Sequence[Mapping[str, Any]]]:
    """The step that reads files, and the others; None where the data set itself gives pixels.

    mmpretrain's sets of CIFAR (RGB) and MNIST (grey) do.
    """
    if any(_READS.search(str(step)) for step in pipeline):
        return pipeline[0], pipeline[1:]
    return (None, pipeline) if pipeline else ({}, ())


def channel_order(
    preprocessor: Mapping[str, Any], pipeline: Sequence[Mapping[str, Any]] = ()
) -> str | None:
    """The order that a network sees: that of the reader (BGR), turned by the preprocessor or not.

    None if there is no preprocessor, or one for another number of channels than three.
    """
    if not preprocessor or len(preprocessor.get('mean') or (0, 0, 0)) != 3:
        return None
    step, _ = reading(pipeline)
    order = 'rgb' if step is None else step.get('channel_order') or 'bgr'
    turned = any(preprocessor.get(key) for key in ('to_rgb', 'bgr_to_rgb', 'rgb_to_bgr'))
    return 'RGB' if (order.lower() == 'rgb') != turned else 'BGR'


def unlike(first: Inputs, second: Inputs) -> str:
    """What of normalisation and channels differs, in words; nothing if they agree or are unknown.

    Sizes are another matter: a network can run at several.
    """
    for name in ('mean', 'std'):
        one, other = getattr(first, name), getattr(second, name)
        if one and other and (len(one) != len(other) or not np.allclose(one, other, rtol=1e-3)):
            return f'{name} {list(one)} and {list(other)}'
    if first.channels and second.channels and first.channels != second.channels:
        return f'channels {first.channels} and {second.channels}'
    return ''


def pixels(size: Size) -> str:
    """``56x48 px``, width first as image viewers say it."""
    return f'{size[1]}x{size[0]} px'


def _numbers(value: Any) -> tuple[float, ...] | None:
    if not isinstance(value, (list, tuple)):
        return None
    whole = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)
    return tuple(map(float, value)) if value and whole else None
