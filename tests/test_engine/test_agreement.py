"""What ranks agree on, and how long they wait for each other."""

from __future__ import annotations

from datetime import timedelta

import torch

from g2sd_mm.engine.hooks import preemption as agreement
from g2sd_mm.engine.hooks.preemption import Agreement


def test_one_process_agrees_with_itself():
    alone = Agreement(timedelta(seconds=1))
    assert alone.any(True) is True
    assert alone.any(False) is False


def test_the_group_waits_no_longer_than_the_run_does(monkeypatch):
    made = {}
    monkeypatch.setattr(agreement, 'is_distributed', lambda: True)
    monkeypatch.setattr(torch.distributed, 'new_group', lambda **options: made.update(options))
    Agreement(timedelta(seconds=15))
    assert made == {'backend': 'gloo', 'timeout': timedelta(seconds=15)}
