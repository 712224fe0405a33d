"""What a device reaches with torch alone: matrix products, attention, memory. Prints JSON.

A script, and not part of the package's imports: ``python benchmarks/speed/bare.py cuda`` runs on a
machine with nothing but torch.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

_TRIES = 5


def best(work: Callable[[], Any], device: str) -> float:
    """Seconds of the fastest of a few calls."""
    seconds = []
    for _ in range(_TRIES):
        _wait(device)
        started = time.perf_counter()
        work()
        _wait(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def measure(device: str, small: bool) -> dict[str, Any]:
    """Operations and bytes a second, and what the device is."""
    gpu = device == 'cuda'
    side = 256 if small else 8192 if gpu else 2048
    products = {}
    for name in ('float32', 'tf32', 'bfloat16', 'float16'):
        if not gpu and name in ('tf32', 'float16'):
            continue
        torch.backends.cuda.matmul.allow_tf32 = name == 'tf32'
        dtype = torch.float32 if name == 'tf32' else getattr(torch, name)
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        products[name] = 2 * side**3 / best(lambda a=a, b=b: a @ b, device)  # type: ignore[misc]
    torch.backends.cuda.matmul.allow_tf32 = False
    dtype = torch.bfloat16 if gpu else torch.float32
    batch = 2 if small else 256 if gpu else 8
    q = torch.randn(batch, 12, 197, 64, device=device, dtype=dtype)
    attend = torch.nn.functional.scaled_dot_product_attention
    attention = 4 * batch * 12 * 197**2 * 64 / best(lambda: attend(q, q, q), device)
    source = torch.empty((1 if small else 256) * 2**20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copied = 2 * source.numel() / best(lambda: target.copy_(source), device)
    return {
        'python': platform.python_version(), 'torch': torch.__version__,
        'device': torch.cuda.get_device_name() if gpu else platform.processor() or 'cpu',
        'device_memory': torch.cuda.get_device_properties(0).total_memory if gpu else None,
        'threads': torch.get_num_threads(), 'products_per_second': products,
        'attention_per_second': attention, 'bytes_per_second': copied, 'side': side,
    }  # fmt: skip


def _wait(device: str) -> None:
    if device == 'cuda':
        torch.cuda.synchronize()


if __name__ == '__main__':
    print(json.dumps(measure(sys.argv[1], 'small' in sys.argv[2:])))
