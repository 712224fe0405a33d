"""What a figure was measured on, and whether the machine had other work at the time."""

from __future__ import annotations

import os
from typing import Any

import torch

from g2sd_mm.bench.results import describe_environment

#: Of CPUs that multiply bfloat16 faster than float32.
_BFLOAT16_FLAGS = ('avx512_bf16', 'amx_bf16')
_OTHERS = 1.5  # a load above this many times our own threads is other work


def cpu_flags() -> list[str]:
    """The CPU's flags that tell how fast it multiplies; empty where Linux does not say."""
    try:
        with open('/proc/cpuinfo') as file:
            lines = [line for line in file if line.startswith('flags')]
    except OSError:
        return []
    flags = lines[0].split(':', 1)[1].split() if lines else []
    return [f for f in flags if f.startswith(('avx2', 'avx512', 'amx')) or f == 'fma']


def bfloat16_counts(device: str) -> bool:
    """Whether the device has instructions for bfloat16; emulated, it says nothing of speed."""
    if device.startswith('cuda'):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return any(flag in _BFLOAT16_FLAGS for flag in cpu_flags())


def load_average() -> float | None:
    """Processes that wanted to run, averaged over the last minute."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def describe(device: str, loads: list[float | None]) -> dict[str, Any]:
    """Machine, packages, threads, flags and load, for JSON.

    Args:
        device: measured on.
        loads: load averages before, between and after the measurements.
    """
    threads = torch.get_num_threads()
    known = [load for load in loads if load is not None]
    return {
        **describe_environment(),
        'device': device,
        'threads': threads,
        'cpu_flags': cpu_flags(),
        'bfloat16_counts': bfloat16_counts(device),
        'load_average': loads,
        # our own threads alone make a load of `threads`
        'shared_with_other_work': bool(known) and max(known) > max(threads, 1) * _OTHERS,
    }
