"""Mixed precision: what a device has for it, and bfloat16 without a gradient scaler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

#: Precision of a forward pass -> the optimizer wrapper for it.
MIXED: dict[str, dict[str, Any]] = {
    'bfloat16': dict(type='AutocastOptimWrapper'),
    'float16': dict(type='AmpOptimWrapper', loss_scale='dynamic'),
}


def mixed_dtype(device: str) -> str:
    """What mixed precision is on a device, a key of :data:`MIXED`; float16 on older GPUs alone."""
    on_gpu = device.startswith('cuda')
    old = on_gpu and not torch.cuda.is_bf16_supported(including_emulation=False)
    return 'float16' if old else 'bfloat16'


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """bfloat16 autocast around the forward pass (mmengine's own wrapper refuses CPUs).

    bfloat16 has float32's range, so no loss scaling is needed and no step is ever skipped.
    """

    def __init__(self, dtype: str = 'bfloat16', **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if dtype != 'bfloat16':
            raise ValueError(f'autocast without a scaler is for bfloat16, got {dtype!r}')
        self.dtype = torch.bfloat16

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context that ``train_step`` computes its losses in."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, dtype=self.dtype):
            yield
