"""Which library computes a teacher's blocks in 8-bit integers fastest on this CPU.

``python -m benchmarks.int8_libraries --out docs/results/speed/int8_libraries.json`` times two
blocks of ViT-B on the visible tokens of eight images: in float32, in bfloat16, and in int8 with
torch's own kernels (``distillation.teacher.dtype=int8``), with onnxruntime and, where it is
installed, with torchao. All take turns; the error is that of the features, relative to float32.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import shlex
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from timm.layers import set_fused_attn
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from g2sd_mm.distill.teachers.eight_bits import use_int8
from g2sd_mm.export.formats import onnx_runner, write_int8, write_onnx
from g2sd_mm.whole_files import write_text

from .speed.pairing import Ratio, alternate
from .speed.surroundings import describe, load_average

#: Gives the features of a variant.
Features = Callable[[], Tensor]

_IMAGES, _TOKENS, _BLOCKS = 8, 50, 2
_WIDTH, _HEADS = 768, 12  # of ViT-B


def variants(blocks: nn.Module, x: Tensor, folder: Path) -> Iterator[tuple[str, Features]]:
    """(name, function that gives the features) of each way to compute the blocks."""
    yield 'float32', lambda: blocks(x)
    half = copy.deepcopy(blocks).bfloat16()
    yield 'bfloat16', lambda: half(x.bfloat16())
    own = copy.deepcopy(blocks)
    use_int8(own)
    yield 'int8, torch', lambda: own(x)
    yield 'int8, onnxruntime', _onnxruntime(blocks, x, folder)
    if importlib.util.find_spec('torchao'):
        yield 'int8, torchao', _torchao(copy.deepcopy(blocks), x)


def _onnxruntime(blocks: nn.Module, x: Tensor, folder: Path) -> Features:
    plain, rounded = folder / 'plain.onnx', folder / 'int8.onnx'
    write_onnx(blocks, x, plain, ['features'])
    write_int8(plain, rounded)
    run = onnx_runner(rounded, torch.get_num_threads())
    return lambda: run(x)[0]


def _torchao(blocks: nn.Module, x: Tensor) -> Features:
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    quantize_(blocks, Int8DynamicActivationInt8WeightConfig())
    compiled = torch.compile(blocks)
    return lambda: compiled(x)


@torch.no_grad()
def measure(rounds: int, width: int = _WIDTH, heads: int = _HEADS) -> list[dict[str, Any]]:
    """Time and error of every variant, and how many times faster than float32 it is."""
    torch.manual_seed(0)
    set_fused_attn(False)  # onnx has no fused attention, and all compute the same
    blocks = nn.Sequential(*(Block(width, heads, qkv_bias=True) for _ in range(_BLOCKS))).eval()
    x = torch.randn(_IMAGES, _TOKENS, width)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of exporting, and of kernels that later releases drop
        ways = dict(variants(blocks, x, Path(folder)))
        exact = ways['float32']()
        size = exact.norm()
        errors = {n: float((way().float() - exact).norm() / size) for n, way in ways.items()}
        timings = alternate({name: lambda way=way: way for name, way in ways.items()}, rounds)
    return [
        {
            'variant': name,
            'seconds': timing.median,
            'ratio': asdict(Ratio.of(timing, timings['float32'])),
            'error': errors[name],
        }
        for name, timing in timings.items()
    ]


def main() -> None:
    """The command line."""
    p = argparse.ArgumentParser(prog='python -m benchmarks.int8_libraries', description=__doc__)
    p.add_argument('--rounds', type=int, default=15)
    p.add_argument('--threads', type=int, default=1)
    p.add_argument('--out', type=Path, help='write all figures to this JSON file')
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    loads = [load_average()]
    figures = measure(args.rounds)
    loads.append(load_average())
    for figure in figures:
        ratio = Ratio(**figure['ratio'])
        seconds, error = figure['seconds'], figure['error']
        print(f'{figure["variant"]}: {seconds:.3f} s, {ratio} x as fast, error {error:.2%}')
    if args.out:
        content = {
            'command': shlex.join(['python', '-m', 'benchmarks.int8_libraries', *sys.argv[1:]]),
            'environment': describe('cpu', loads),
            'int8_libraries': figures,
        }
        write_text(args.out, json.dumps(content, indent=1) + '\n')


if __name__ == '__main__':
    main()
