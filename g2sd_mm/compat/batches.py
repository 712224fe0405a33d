"""Images that cannot stand in one batch are named.

torch says that tensors cannot be stacked, and mmseg that sizes should be the same: neither says of
which file. Nearly always it is one image that is smaller than the crop of the pipeline.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from g2sd_mm.compat.import_hooks import replace_function
from g2sd_mm.errors import ConfigError, DataError


def name_odd_sizes(module: ModuleType) -> None:
    """Of ``mmengine.dataset.utils``."""
    collate = module.default_collate

    @functools.wraps(collate)
    def default_collate(data_batch: Sequence) -> Any:
        try:
            return collate(data_batch)
        except RuntimeError as error:
            first = data_batch[0]
            if isinstance(first, dict) and {'inputs', 'data_samples'} <= set(first):
                inputs, samples = zip(
                    *((item['inputs'], item['data_samples']) for item in data_batch), strict=True
                )
                _refuse_odd_size(inputs, samples, error)
            raise

    replace_function(module, 'default_collate', default_collate)
    module.FUNCTIONS._module_dict['default_collate'] = default_collate


def name_odd_crops(module: ModuleType) -> None:
    """Of ``mmseg.models.data_preprocessor``."""
    preprocessor = module.SegDataPreProcessor
    forward: Callable = preprocessor.forward

    @functools.wraps(forward)
    def named(self: Any, data: dict, training: bool = False) -> Any:
        if training and self.size is None and self.size_divisor is None:
            raise ConfigError(
                'model.data_preprocessor.size is missing: set it to the size of the training crop, '
                '--cfg-options model.data_preprocessor.size="(512,512)"'
            )
        try:
            return forward(self, data, training)
        except (AssertionError, RuntimeError) as error:
            _refuse_odd_size(data.get('inputs') or (), data.get('data_samples') or (), error)
            raise

    preprocessor.forward = named


def _refuse_odd_size(inputs: Sequence, samples: Sequence, error: Exception) -> None:
    """Name the file whose size fewest have, if sizes differ.

    Raises:
        DataError: in that case.
    """
    sizes = [tuple(image.shape[-2:]) for image in inputs if hasattr(image, 'shape')]
    counts = Counter(sizes)
    if len(counts) < 2 or len(sizes) != len(samples):
        return
    # of two that are equally frequent the smaller one: a crop leaves what is too small for it
    odd = min(sizes, key=lambda size: (counts[size], size[0] * size[1]))
    usual = max(counts, key=lambda size: (counts[size], size[0] * size[1]))
    path = samples[sizes.index(odd)].metainfo.get('img_path', 'an image')
    raise DataError(
        f'{path}: {_px(odd)} px after the pipeline, and the others of its batch {_px(usual)} px: '
        'too small for the crop, or sizes differ; resize in the pipeline before the crop, pad '
        '(pad_if_needed=True of RandomCrop, auto_pad=True of CenterCrop), remove the image, or use '
        'batch_size=1 for evaluation'
    ) from error


def _px(size: tuple[int, int]) -> str:
    return f'{size[1]}x{size[0]}'


def normalise_any_channels(module: ModuleType) -> None:
    """Of ``mmengine.model.base_model.data_preprocessor``: as many values as there are channels.

    ``ImgDataPreprocessor``, and mmdet's and mmseg's, which inherit from it, refuse a mean of two or
    thirteen values, and compute with one all the same.
    """
    build = module.ImgDataPreprocessor.__init__

    @functools.wraps(build)
    def __init__(self: Any, mean: Any = None, std: Any = None, *args: Any, **options: Any) -> None:
        channels = {len(values) for values in (mean, std) if values is not None}
        if len(channels) != 1 or mean is None or std is None or channels <= {1, 3}:
            build(self, mean, std, *args, **options)
            return
        build(self, None, None, *args, **options)
        self._enable_normalize = True
        for name, values in (('mean', mean), ('std', std)):
            # not saved with the weights, as mmengine's own
            self.register_buffer(name, module.torch.tensor(values).view(-1, 1, 1), False)

    module.ImgDataPreprocessor.__init__ = __init__


def join_windows_of_any_batch(module: ModuleType) -> None:
    """Of a module with Swin's layers: they can be traced for any batch.

    Windows become maps again by a batch that the libraries compute with ``int``: an exported file
    would be of one batch alone.
    """
    module.ShiftWindowMSA.window_reverse = _joined


def _joined(self: Any, windows: Any, height: int, width: int, size: int | None = None) -> Any:
    """Windows [B * n, size, size, C] as maps [B, height, width, C]; mmpretrain gives the size."""
    size, channels = size or self.window_size, windows.shape[-1]
    maps = windows.view(-1, height // size, width // size, size, size, channels)
    return maps.transpose(2, 3).reshape(-1, height, width, channels)
