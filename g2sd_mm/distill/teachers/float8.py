"""Linear layers of a frozen network on float8 products, their inputs rounded as they come.

Weights are rounded with a scale for every output channel, inputs with one for every token, both to
e4m3 (4 bits of exponent, 3 of fraction). The layer keeps its weights, so that checksums, state
dicts and taps are what they were. GPUs multiply such numbers twice as fast as bfloat16 ones.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import UserError

_FORMAT = torch.float8_e4m3fn
_LARGEST = 448.0  # of the format
_STEP = 16  # widths that the kernels take are multiples of it
_LEAST = (8, 9)  # compute capability that has them: Ada, Hopper and after


class Float8Linear(nn.Linear):
    """A linear layer whose product is one of float8 numbers; without gradients."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out], bfloat16; ``linear(x, W) + b`` of rounded x and W."""
        tokens, scale = _rounded(x.flatten(0, -2))
        weight, scales = self._weight()
        rows = F.ScalingType.RowWise
        product = F.scaled_mm(
            tokens, weight.t(), scale, rows, scales.t(), rows, output_dtype=torch.bfloat16
        )
        product = product if self.bias is None else product + self.bias
        return product.unflatten(0, x.shape[:-1])

    def _weight(self) -> tuple[Tensor, Tensor]:
        if torch.compiler.is_compiling():  # rounded in each call: little beside the product
            return _rounded(self.weight)
        state = (self.weight.data_ptr(), self.weight._version)
        if getattr(self, '_kept', (None,))[0] != state:
            self._kept = state, _rounded(self.weight)
        return self._kept[1]


def use_float8(network: nn.Module) -> int:
    """Let the plain linear layers of a network compute in float8, in place; how many they are.

    Those of widths that no kernel takes stay as they are.

    Raises:
        UserError: where this torch has no such product.
    """
    if not hasattr(F, 'scaled_mm'):
        raise UserError(
            f"distillation.teacher.dtype='float8' needs a newer torch than {torch.__version__}: "
            "use 'bfloat16'"
        )
    layers = [
        module
        for module in network.modules()
        if type(module) is nn.Linear
        and not module.in_features % _STEP
        and not module.out_features % _STEP
    ]
    for layer in layers:
        layer.__class__ = Float8Linear
    return len(layers)


def check_device(device: torch.device) -> None:
    """Raise UserError for a GPU without float8 products; CPUs compute them, slowly."""
    if device.type == 'cuda' and torch.cuda.get_device_capability(device) < _LEAST:
        raise UserError(
            f"distillation.teacher.dtype='float8' needs a GPU of compute capability "
            f"{_LEAST[0]}.{_LEAST[1]} or more, and {torch.cuda.get_device_name(device)} has less: "
            "use 'bfloat16'"
        )


def _rounded(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [n, C] in float8, and the scale of each, float32 [n, 1]."""
    largest = rows.detach().abs().amax(dim=1, keepdim=True).float()
    scale = largest.clamp(min=1e-12) / _LARGEST
    return (rows.detach().float() / scale).clamp(-_LARGEST, _LARGEST).to(_FORMAT), scale
