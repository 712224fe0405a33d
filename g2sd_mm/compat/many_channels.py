"""Normalise images of any number of channels, not of one or three alone.

mmengine's ``ImgDataPreprocessor``, and mmdet's and mmseg's, which inherit from it, refuse a mean of
two or thirteen values, and compute with one all the same.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from g2sd_mm.compat.import_hooks import after_import

__all__ = ['normalise_any_channels']


def normalise_any_channels() -> None:
    """Let the preprocessors take as many values as there are channels, once they are imported."""
    after_import('mmengine.model.base_model.data_preprocessor', _admit)


def _admit(module: ModuleType) -> None:
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
