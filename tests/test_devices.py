"""A device that this machine lacks is told in one line, whoever asks."""

from __future__ import annotations

import sys

import pytest
import torch

from g2sd_mm.cli import probe
from g2sd_mm.devices import usable_device
from g2sd_mm.errors import UserError


def test_one_that_is_there_is_taken():
    assert usable_device('cpu') == 'cpu'
    assert usable_device() == ('cuda' if torch.cuda.is_available() else 'cpu')


@pytest.mark.parametrize('asked', ['gpu', 'cuda:99', 'meta', 'cpu:x'])
def test_one_that_is_not_is_named(asked):
    with pytest.raises(UserError, match=f'device {asked} cannot be used'):
        usable_device(asked)


def test_probe_asks_before_its_work(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['probe', 'no.pth', '--data', 'none', '--device', 'gpu'])
    with pytest.raises(SystemExit):
        probe.main()
    assert 'device gpu cannot be used' in capsys.readouterr().err
