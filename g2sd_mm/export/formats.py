"""Write and run exported files: ONNX (in int8 too), TorchScript, torch.export."""

from __future__ import annotations

import importlib
import json
import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import UserError
from ..whole_files import whole_or_not

#: An exported file as a function: its inputs -> its outputs.
Runner = Callable[..., list[Tensor]]
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
            f'ONNX needs {name}, which is not installed: pip install "g2sd_mm[export]"'
        ) from error


def write_onnx(
    network: nn.Module,
    example: Tensor,
    path: Path,
    names: Sequence[str],
    opset: int = OPSET,
    further: Mapping[str, Tensor] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a network as one ONNX file whose batch size is free.

    Args:
        network: takes images [B, 3, height, width], gives a tensor or a tuple of tensors.
        example: images of the size that the file will take, at least two of them.
        names: of the outputs, in order. The input is called ``images``.
        further: inputs after the images, by name; a network that takes any is one of one image.
        metadata: written into the file as JSON, by name.

    Raises:
        UserError: for an operator set that cannot be written, or without the packages.
    """
    newest = require('onnx').defs.onnx_opset_version()
    require('onnxscript')  # torch's exporter is written in it
    if not OPSET <= opset <= newest:
        raise UserError(f'opset {opset} cannot be written: choose one of {OPSET} to {newest}')
    further = dict(further or {})
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')  # the libraries' own deprecations
        program: Any = torch.onnx.export(
            network,
            (example, *further.values()),
            input_names=['images', *further],
            output_names=list(names),
            dynamic_shapes=None if further else ({0: 'batch'},),
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    written = program.model.opset_imports['']
    if written != opset:
        raise UserError(f'opset {opset} cannot be written for this network, but {written} can')
    for name, value in (metadata or {}).items():
        program.model.metadata_props[name] = json.dumps(value)
    program.save(path)


def onnx_runner(path: Path, threads: int = 0) -> Runner:
    """The file on onnxruntime's CPU, on so many threads (0: all cores): its inputs -> outputs."""
    runtime = require('onnxruntime')
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    session = runtime.InferenceSession(
        str(path), options, providers=['CPUExecutionProvider']
    )

    names = [given.name for given in session.get_inputs()]

    def run(*inputs: Tensor) -> list[Tensor]:
        feed = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
        outputs: list[np.ndarray] = session.run(None, feed)
        return [torch.from_numpy(output) for output in outputs]

    return run


def write_int8(source: Path, path: Path) -> float:
    """Dynamic quantisation of an ONNX file: int8 weights, activations scaled as they come.

    The matrix products with weights (qkv, projections, MLP, heads) are quantised, a scale for each
    output channel; attention, norms and all convolutions, the patch embedding among them, stay in
    float32.

    Returns:
        the share of the weights that are in int8 now.

    Raises:
        UserError: without onnxruntime.
    """
    quantization = require('onnxruntime.quantization')
    model = require('onnx').load(str(source))
    # it transposes weights, and the onnxruntime of Python 3.10 then refuses their sizes of before
    del model.graph.value_info[:]
    log = logging.getLogger()
    level = log.level
    log.setLevel(logging.ERROR)  # it advises to run shape inference, which the exporter has done
    try:
        with whole_or_not(path) as new:
            quantization.quantize_dynamic(
                model,
                str(new),
                op_types_to_quantize=['MatMul', 'Gemm'],
                per_channel=True,
                weight_type=quantization.QuantType.QInt8,
            )
            return _share_in_int8(new)
    finally:
        log.setLevel(level)


def _share_in_int8(path: Path) -> float:
    onnx = require('onnx')
    numbers = {True: 0, False: 0}
    for weights in onnx.load(str(path)).graph.initializer:
        numbers[weights.data_type == onnx.TensorProto.INT8] += math.prod(weights.dims)
    return numbers[True] / max(1, sum(numbers.values()))


def write_torchscript(network: nn.Module, example: Tensor, path: Path) -> None:
    """Trace a network; ``torch.jit.load`` reads the file, from C++ too. The batch size is free.

    Torch has declared TorchScript deprecated, but reads it.
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

    The example has at least two images.
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
