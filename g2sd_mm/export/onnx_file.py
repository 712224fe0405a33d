"""Write ONNX, and run it with onnxruntime."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import UserError

#: The exporter writes no older one. Its own default is newer; this one runs on more runtimes.
OPSET = 18


def require(name: str) -> ModuleType:
    """Import a package of the ``export`` extra.

    Raises:
        UserError: if it is not installed; the message has the command.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"ONNX needs {name}, which is not installed: pip install -e '.[export]'"
        ) from error


def write_onnx(
    network: nn.Module, example: Tensor, path: Path, names: Sequence[str], opset: int = OPSET
) -> None:
    """Write a network as one ONNX file whose batch size is free.

    Args:
        network: takes images [B, 3, height, width], gives a tensor or a tuple of tensors.
        example: images of the size that the file will take, at least two of them.
        path: the file.
        names: of the outputs, in order. The input is called ``images``.
        opset: operator set.

    Raises:
        UserError: for an operator set that cannot be written, or without the packages.
    """
    newest = require('onnx').defs.onnx_opset_version()
    require('onnxscript')  # torch's exporter is written in it
    if not OPSET <= opset <= newest:
        raise UserError(f'opset {opset} cannot be written: choose one of {OPSET} to {newest}')
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')  # the libraries' own deprecations
        program: Any = torch.onnx.export(
            network,
            (example,),
            input_names=['images'],
            output_names=list(names),
            dynamic_shapes=({0: 'batch'},),
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    written = program.model.opset_imports['']
    if written != opset:
        raise UserError(f'opset {opset} cannot be written for this network, but {written} can')
    program.save(path)


def onnx_runner(path: Path, threads: int = 0) -> Callable[[Tensor], list[Tensor]]:
    """The file on onnxruntime's CPU: images [B, 3, height, width] -> outputs.

    Args:
        path: ONNX file.
        threads: of one call; 0 for all cores.
    """
    runtime = require('onnxruntime')
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    session = runtime.InferenceSession(
        str(path), options, providers=['CPUExecutionProvider']
    )

    def run(images: Tensor) -> list[Tensor]:
        outputs: list[np.ndarray] = session.run(None, {'images': images.numpy()})
        return [torch.from_numpy(output) for output in outputs]

    return run
