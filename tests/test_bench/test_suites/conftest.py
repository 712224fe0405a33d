"""Suites that only pretend to train."""

from __future__ import annotations

import pytest

from g2sd_mm.bench.suites import run as run_module

from .fakes import Fake


@pytest.fixture
def fake(monkeypatch, tmp_path_factory) -> Fake:
    """In the place of training, for every suite of the test."""
    log = tmp_path_factory.mktemp('fake') / 'log'
    log.write_text('')
    made = Fake(log)
    monkeypatch.setattr(run_module, 'launch', made)
    return made
