"""Taps record what named modules put out, while asked to and no longer."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn

from g2sd_mm.distill import Taps

from ..helpers.toys import words


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.head = nn.Linear(4, 2)

    def forward(self, x, times: int = 1):
        x = self.body(x)
        return [self.head(x + i) for i in range(times)]


def test_a_module_called_once_gives_its_output():
    net, x = Net(), torch.randn(3, 4)
    with Taps(net, {'hidden': 'body.0', 'logits': 'head'}).record() as heard:
        (logits,) = net(x)
    assert set(heard) == {'hidden', 'logits'}
    assert heard['logits'] is logits
    assert torch.equal(heard['hidden'], net.body[0](x))


def test_a_module_called_several_times_gives_a_list_in_order():
    net = Net()
    with Taps(net, {'logits': 'head'}).record() as heard:
        outputs = net(torch.randn(3, 4), times=3)
    assert isinstance(heard['logits'], list)
    assert all(a is b for a, b in zip(heard['logits'], outputs, strict=True))


def test_records_do_not_add_up_over_passes():
    net = Net()
    taps = Taps(net, {'logits': 'head'})
    for _ in range(2):
        with taps.record() as heard:
            (logits,) = net(torch.randn(3, 4))
        assert heard['logits'] is logits


def test_nothing_is_recorded_or_kept_outside_of_a_record():
    net = Net()
    taps = Taps(net, {'logits': 'head'})
    with taps.record() as heard:
        output = weakref.ref(net(torch.randn(3, 4))[0])
    assert output() is heard['logits']
    del heard
    gc.collect()
    assert output() is None
    unheard = weakref.ref(net(torch.randn(3, 4))[0])
    assert unheard() is None
    assert set(net.state_dict()) == set(Net().state_dict())


def test_nothing_is_kept_after_an_error():
    net = Net()
    taps = Taps(net, {'logits': 'head'})
    with pytest.raises(ZeroDivisionError), taps.record() as heard:
        net(torch.randn(3, 4))
        _ = 1 / 0
    assert heard == {}
    assert taps._records is None


def test_an_unknown_module_is_told_what_there_is():
    with pytest.raises(ValueError, match=words("no module 'neck' to tap", 'Net has body, head')):
        Taps(Net(), {'x': 'neck'})
    with pytest.raises(ValueError, match=words("no module 'body.7'", 'body has 0, 1')):
        Taps(Net(), {'x': 'body.7'})
    with pytest.raises(ValueError, match=words("no module 'head.weight'", 'head has nothing')):
        Taps(Net(), {'x': 'head.weight'})


def test_a_module_that_was_not_called_is_an_error():
    net = Net()
    taps = Taps(net, {'logits': 'head', 'hidden': 'body'})
    message = words("tap 'logits': module 'head' was not called", 'runs in training')
    with pytest.raises(RuntimeError, match=message), taps.record():
        net.body(torch.randn(3, 4))


def test_removed_taps_hear_nothing():
    net = Net()
    taps = Taps(net, {'logits': 'head'})
    taps.remove()
    assert not net.head._forward_hooks


def test_the_last_of_a_row_is_found_from_its_end():
    net, x = Net(), torch.randn(3, 4)
    with Taps(net, {'last': 'body.-1', 'first': 'body.-2'}).record() as heard:
        net(x)
    assert torch.equal(heard['first'], net.body[0](x))
    assert torch.equal(heard['last'], net.body(x))
    with pytest.raises(ValueError, match=words("no module 'body.-3' to tap", 'body has 0, 1')):
        Taps(net, {'x': 'body.-3'})


def test_a_star_hears_all_of_a_row_in_order():
    net, x = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4)) for _ in range(3))), torch.randn(3, 4)
    with Taps(net, {'all': '*.0'}).record() as heard:
        net(x)
    expected = [net[:i](x) for i in (1, 2, 3)]
    assert all(torch.equal(a, b) for a, b in zip(heard['all'], expected, strict=True))
    with Taps(net[:1], {'all': '*.0'}).record() as heard:
        net[:1](x)
    assert isinstance(heard['all'], list)
    with pytest.raises(ValueError, match=words("no module '*.1' to tap", '* has 0')):
        Taps(net, {'x': '*.1'})
