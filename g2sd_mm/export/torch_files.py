"""Write TorchScript and torch.export programs, and run them. Torch alone is needed to do so."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

Runner = Callable[[Tensor], list[Tensor]]


def write_torchscript(network: nn.Module, example: Tensor, path: Path) -> None:
    """Trace a network; ``torch.jit.load`` reads the file, from C++ too. The batch size is free.

    Torch has declared TorchScript deprecated, but reads it.

    Args:
        network: takes images [B, 3, height, width].
        example: images of the size that the file will take.
        path: the file.
    """
    with warnings.catch_warnings(), torch.no_grad():
        # of deprecation, and that sizes become constants, which is meant
        warnings.simplefilter('ignore')
        torch.jit.save(torch.jit.trace(network, example, check_trace=False), str(path))


def torchscript_runner(path: Path) -> Runner:
    """The file as a function: images [B, 3, height, width] -> outputs."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)
        program = torch.jit.load(str(path), map_location='cpu')
    return lambda images: as_list(program(images))


def write_torch_export(network: nn.Module, example: Tensor, path: Path) -> None:
    """Write what ``torch.export.load`` reads, for AOTInductor and ExecuTorch; the batch is free.

    Args:
        network, example, path: as in :func:`write_torchscript`; at least two images.
    """
    batch = torch.export.Dim('batch')
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')
        program = torch.export.export(
            network, (example,), dynamic_shapes=({0: batch},), strict=False
        )
        torch.export.save(program, path)


def torch_export_runner(path: Path) -> Runner:
    """The file as a function: images [B, 3, height, width] -> outputs."""
    program = torch.export.load(path).module()
    return lambda images: as_list(program(images))


def as_list(outputs: Tensor | tuple[Tensor, ...] | list[Tensor]) -> list[Tensor]:
    """One tensor or several as a list."""
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)
