"""Linear layers of a frozen network on a CPU's int8 products, their inputs quantised as they come.

Weights are rounded once, with a scale for every output channel; inputs at every call, with one
scale for all of them. The layer keeps its float32 weights, so that checksums, state dicts and taps
are what they were.
"""

from __future__ import annotations

import functools
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import UserError

#: CPUs without these add pairs of products in 16 bits, which overflow with all 8 bits of an input.
_WIDE_SUMS = ('avx512_vnni', 'avx_vnni', 'amx_int8', 'asimddp')
_CPUINFO = Path('/proc/cpuinfo')


class Int8Linear(nn.Linear):
    """A linear layer whose product is one of 8-bit integers; without gradients, on a CPU alone."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out], float32; ``linear(x, W) + b`` of rounded x and W."""
        if torch.compiler.is_compiling() or x.device.type != 'cpu':
            return F.linear(x, self.weight, self.bias)
        state = (self.weight.data_ptr(), self.weight._version)
        if getattr(self, '_packed', (None,))[0] != state:
            self._packed = state, _packed(self.weight, self.bias)
        return torch.ops.quantized.linear_dynamic(
            x.float().contiguous(), self._packed[1], reduce_range=not _sums_are_wide()
        )


def use_int8(network: nn.Module) -> int:
    """Let every plain linear layer of a network compute in int8, in place; how many they are.

    Raises:
        UserError: where torch has no kernel for it.
    """
    kernels = 'x86' in torch.backends.quantized.supported_engines
    if not kernels or not hasattr(torch, 'quantize_per_channel'):
        raise UserError(
            "distillation.teacher.dtype='int8' needs torch's int8 kernels, which are for x86 CPUs: "
            "use 'bfloat16'"
        )
    layers = [module for module in network.modules() if type(module) is nn.Linear]
    for layer in layers:
        layer.__class__ = Int8Linear
    return len(layers)


def _packed(weight: Tensor, bias: Tensor | None) -> object:
    """Weights as the kernel takes them: symmetric, one scale for each output channel."""
    scales = (weight.detach().abs().amax(dim=1) / 127).clamp(min=1e-12)
    zeros = torch.zeros(len(scales), dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # torch 2.14: a later release has it no more
        rounded = torch.quantize_per_channel(
            weight.detach().float(), scales.double(), zeros, 0, torch.qint8
        )
    return torch.ops.quantized.linear_prepack(rounded, None if bias is None else bias.detach())


@functools.cache
def _sums_are_wide() -> bool:
    """Whether this CPU adds products of 8-bit integers in 32 bits."""
    flags = _CPUINFO.read_text() if _CPUINFO.is_file() else ''
    return any(flag in flags for flag in _WIDE_SUMS)
