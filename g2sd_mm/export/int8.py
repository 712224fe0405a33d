"""Quantise an exported network to int8 without any data."""

from __future__ import annotations

import logging
from pathlib import Path

from .onnx_file import require


def write_int8(source: Path, path: Path) -> None:
    """Dynamic quantisation of an ONNX file: int8 weights, activations scaled as they come.

    The matrix products with weights (qkv, projections, MLP, heads) are quantised, a scale for each
    output channel; attention, norms and the patch embedding stay in float32.

    Args:
        source: ONNX file in float32.
        path: the file to write.

    Raises:
        UserError: without onnxruntime.
    """
    quantization = require('onnxruntime.quantization')
    log = logging.getLogger()
    level = log.level
    log.setLevel(logging.ERROR)  # it advises to run shape inference, which the exporter has done
    try:
        quantization.quantize_dynamic(
            str(source),
            str(path),
            op_types_to_quantize=['MatMul', 'Gemm'],
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
        )
    finally:
        log.setLevel(level)
