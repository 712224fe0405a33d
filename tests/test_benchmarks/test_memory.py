"""Peak memory: what is counted, and the process of its own."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from benchmarks.speed import memory

from ..helpers.toys import words

MB = 2**20


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_a_peak_counts_although_it_was_given_back():
    np.ones(96 * MB, np.uint8)  # an earlier, higher peak does not count
    before = memory._reset_peak('cpu')
    held = np.ones(16 * MB, np.uint8)
    np.ones(48 * MB, np.uint8)  # gone at once
    grown = memory._peak('cpu') - before
    assert len(held) + 47 * MB < grown < len(held) + 56 * MB


def test_on_a_gpu_the_allocator_is_asked(monkeypatch):
    reset = []
    monkeypatch.setattr(torch.cuda, 'reset_peak_memory_stats', lambda: reset.append(True))
    monkeypatch.setattr(torch.cuda, 'memory_allocated', lambda: 5)
    monkeypatch.setattr(torch.cuda, 'max_memory_allocated', lambda: 12)
    assert (memory._reset_peak('cuda'), reset, memory._peak('cuda')) == (5, [True], 12)


def test_moments_are_there_before_the_step():
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter], lr=1e-7)
    memory.make_moments(optimizer)
    assert {'exp_avg', 'exp_avg_sq'} <= set(optimizer.state[parameter])
    assert parameter.grad is None


@pytest.mark.slow
def test_a_step_is_measured_in_a_process_of_its_own():
    ours, reference = (
        memory.measure_memory('seg_vits', reference, 2, 'toy', threads=1)
        for reference in (False, True)
    )
    assert MB < ours < 500 * MB
    assert MB < reference < 500 * MB


def test_a_process_that_fails_says_why():
    with pytest.raises(RuntimeError, match=words('memory of nothing failed', 'KeyError')):
        memory.measure_memory('nothing', False, 2, 'toy')
