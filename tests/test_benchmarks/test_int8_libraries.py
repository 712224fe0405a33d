"""Blocks of a teacher in int8, by library."""

from __future__ import annotations

import pytest

from benchmarks import int8_libraries


@pytest.mark.slow
def test_every_library_computes_the_same_blocks(monkeypatch):
    monkeypatch.setattr(int8_libraries, '_TOKENS', 4)
    figures = int8_libraries.measure(1, width=32, heads=2)
    exact, *others = figures
    assert exact['variant'] == 'float32' and exact['error'] == 0
    assert {f['variant'] for f in others} >= {'bfloat16', 'int8, torch', 'int8, onnxruntime'}
    assert all(0 < figure['error'] < 0.05 for figure in others)
