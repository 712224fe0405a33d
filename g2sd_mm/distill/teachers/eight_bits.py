"""Linear layers of a frozen network on products of 8-bit numbers; inputs are rounded as they come.

The layers keep their weights, so that checksums, state dicts and taps are what they were; what is
rounded of them is kept until they change.

int8, on a CPU: weights have a scale for every output channel, inputs one for all of them.
float8 (e4m3: 4 bits of exponent, 3 of fraction), on a GPU, which multiplies such numbers twice as
fast as bfloat16 ones: weights have a scale for every output channel, inputs one for every token.
"""

from __future__ import annotations

import functools
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import UserError

#: CPUs without these add pairs of products in 16 bits, which overflow with all 8 bits of an input.
_WIDE_SUMS = ('avx512_vnni', 'avx_vnni', 'amx_int8', 'asimddp')
_CPUINFO = Path('/proc/cpuinfo')

_FORMAT = torch.float8_e4m3fn
_LARGEST = 448.0  # of the format
_STEP = 16  # widths that the kernels take are multiples of it
_LEAST = (8, 9)  # compute capability that has them: Ada, Hopper and after


class _RoundedLinear(nn.Linear):
    _kept: tuple[Any, Any] = (None, None)

    def rounded_weight(self) -> Any:
        """What :meth:`round_weight` makes of the weight as it is now."""
        state = (self.weight.data_ptr(), self.weight._version)
        if self._kept[0] != state:
            self._kept = state, self.round_weight()
        return self._kept[1]

    def round_weight(self) -> Any:
        """The weight as the kernel takes it."""
        raise NotImplementedError


class Int8Linear(_RoundedLinear):
    """A linear layer whose product is one of 8-bit integers; without gradients, on a CPU alone."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out], float32; ``linear(x, W) + b`` of rounded x and W."""
        if torch.compiler.is_compiling() or x.device.type != 'cpu':
            return F.linear(x, self.weight, self.bias)
        return torch.ops.quantized.linear_dynamic(
            x.float().contiguous(), self.rounded_weight(), reduce_range=not _sums_are_wide()
        )

    def round_weight(self) -> Any:
        weight = self.weight.detach()
        scales = (weight.abs().amax(dim=1) / 127).clamp(min=1e-12)
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # torch 2.14: a later release has it no more
            rounded = torch.quantize_per_channel(
                weight.float(), scales.double(), zeros, 0, torch.qint8
            )
        bias = None if self.bias is None else self.bias.detach()
        return torch.ops.quantized.linear_prepack(rounded, bias)


class Float8Linear(_RoundedLinear):
    """A linear layer whose product is one of float8 numbers; without gradients."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out], bfloat16; ``linear(x, W) + b`` of rounded x and W."""
        tokens, scale = _rounded(x.flatten(0, -2))
        # compiled, it is rounded in each call: little beside the product
        compiling = torch.compiler.is_compiling()
        weight, scales = self.round_weight() if compiling else self.rounded_weight()
        rows = F.ScalingType.RowWise
        product = F.scaled_mm(
            tokens, weight.t(), scale, rows, scales.t(), rows, output_dtype=torch.bfloat16
        )
        product = product if self.bias is None else product + self.bias
        return product.unflatten(0, x.shape[:-1])

    def round_weight(self) -> tuple[Tensor, Tensor]:
        return _rounded(self.weight)


def use_int8(network: nn.Module) -> None:
    """Let every plain linear layer of a network compute in int8, in place.

    Raises:
        UserError: where torch has no kernel for it.
    """
    kernels = 'x86' in torch.backends.quantized.supported_engines
    if not kernels or not hasattr(torch, 'quantize_per_channel'):
        raise UserError(
            "distillation.teacher.dtype='int8' needs torch's int8 kernels, which are for x86 CPUs: "
            "use 'bfloat16'"
        )
    for module in network.modules():
        if type(module) is nn.Linear:
            module.__class__ = Int8Linear


def use_float8(network: nn.Module) -> None:
    """Let the plain linear layers of a network compute in float8, in place.

    Those of widths that no kernel takes stay as they are.

    Raises:
        UserError: where this torch has no such product.
    """
    if not hasattr(F, 'scaled_mm'):
        raise UserError(
            f"distillation.teacher.dtype='float8' needs a newer torch than {torch.__version__}: "
            "use 'bfloat16'"
        )
    for module in network.modules():
        if type(module) is nn.Linear and not (
            module.in_features % _STEP or module.out_features % _STEP
        ):
            module.__class__ = Float8Linear


def check_device(products: str | None, device: torch.device) -> None:
    """Raise UserError for a device without such products; CPUs compute float8, slowly."""
    if products == 'int8' and device.type not in ('cpu', 'meta'):
        raise UserError("distillation.teacher.dtype='int8' is for CPUs: on a GPU use 'bfloat16'")
    if products != 'float8' or device.type != 'cuda':
        return
    if torch.cuda.get_device_capability(device) < _LEAST:
        raise UserError(
            f"distillation.teacher.dtype='float8' needs a GPU of compute capability "
            f"{_LEAST[0]}.{_LEAST[1]} or more, and {torch.cuda.get_device_name(device)} has less: "
            "use 'bfloat16'"
        )


@functools.cache
def _sums_are_wide() -> bool:
    """Whether this CPU adds products of 8-bit integers in 32 bits."""
    flags = _CPUINFO.read_text() if _CPUINFO.is_file() else ''
    return any(flag in flags for flag in _WIDE_SUMS)


def _rounded(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [n, C] in float8, and the scale of each, float32 [n, 1]."""
    largest = rows.detach().abs().amax(dim=1, keepdim=True).float()
    scale = largest.clamp(min=1e-12) / _LARGEST
    return (rows.detach().float() / scale).clamp(-_LARGEST, _LARGEST).to(_FORMAT), scale
