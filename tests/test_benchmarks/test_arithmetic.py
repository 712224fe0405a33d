"""Operations of a step against a count by hand, and the device's ceiling."""

from __future__ import annotations

import torch

from benchmarks.speed import arithmetic
from benchmarks.speed.arithmetic import matmul_peak, step_flops
from benchmarks.speed.stages import STAGES


def block(tokens: int, width: int) -> int:
    """Multiply-adds of a transformer block: projections and MLP, then the two products."""
    return 12 * width**2 * tokens + 2 * tokens**2 * width


def test_operations_of_stage_1_are_those_that_the_method_needs():
    visible, patches, pixels = 4, 16, 3 * 16 * 16
    teacher = (
        visible * pixels * 48
        + 2 * block(1 + visible, 48)
        + (1 + visible) * 48 * 48
        + 2 * block(1 + patches, 48)  # stops at the target block
    )
    embed = visible * pixels * 32
    rest = (
        2 * block(1 + visible, 32)
        + (1 + visible) * 32 * 32
        + 3 * block(1 + patches, 32)
        + (1 + patches) * (32 * 48 + 48 * 48)
    )
    # backward: one product for the weights, one for the inputs, which pixels do not need
    expected = 2 * (teacher + 2 * embed + 3 * rest)
    assert step_flops(STAGES['generic_vits'], 'toy') == expected


def test_the_ceiling_is_that_of_the_fastest_product(monkeypatch):
    clock = iter([0, 4, 10, 12, 20, 25])
    monkeypatch.setattr(arithmetic, '_TRIES', 3)
    monkeypatch.setattr(arithmetic.time, 'perf_counter', lambda: next(clock))
    made = []
    randn = torch.randn
    monkeypatch.setattr(torch, 'randn', lambda *a, **k: made.append(k) or randn(*a, **k))
    assert matmul_peak('bfloat16', side=10) == 2 * 10**3 / 2
    assert made == [{'device': 'cpu'}] * 2
