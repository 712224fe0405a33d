"""Small networks are asked on one thread, large ones on all; nothing else depends on it."""

from __future__ import annotations

import pytest
import torch

from g2sd_mm.bench.analysis import network
from g2sd_mm.bench.analysis.network import enough_threads, logits

from .networks import pictures


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_small_networks_take_one_thread(networks, three_threads):
    with pytest.raises(KeyError), enough_threads(networks):
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == 3


def test_a_large_network_among_them_takes_all(networks, three_threads, monkeypatch):
    sizes = [sum(p.numel() for p in net.model.backbone.parameters()) for net in networks.values()]
    monkeypatch.setattr(network, 'SMALL', max(sizes) - 1)
    with enough_threads(networks):
        assert torch.get_num_threads() == 3
    with enough_threads({}):
        assert torch.get_num_threads() == 1


def test_answers_do_not_depend_on_it(networks, three_threads):
    images = pictures(6)
    expected = logits(networks['g2sd'], images)
    with enough_threads(networks):
        # products of few tokens are cut up among threads, and so are rounded otherwise
        torch.testing.assert_close(logits(networks['g2sd'], images), expected, rtol=1e-6, atol=1e-7)
