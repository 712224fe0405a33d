"""A device that this machine lacks is told in one line; networks of shapes have no numbers."""

from __future__ import annotations

import sys

import pytest
import torch

from g2sd_mm.cli import probe
from g2sd_mm.devices import on_meta_device, usable_device
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


def test_a_network_on_the_meta_device_has_its_names_and_shapes_and_no_numbers():
    def build() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))

    with on_meta_device():
        hollow = build()
        torch.nn.init.trunc_normal_(hollow[0].weight, std=0.02).mul_(2)
    shapes = {name: tensor.shape for name, tensor in build().state_dict().items()}
    assert {name: tensor.shape for name, tensor in hollow.state_dict().items()} == shapes
    assert all(tensor.is_meta for tensor in hollow.state_dict().values())


def test_inside_of_it_tensors_with_numbers_are_filled_as_ever():
    numbers = torch.ones(3)
    with on_meta_device():
        numbers.mul_(2).add_(1)
    assert numbers.tolist() == [3, 3, 3]
