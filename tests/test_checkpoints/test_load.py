"""Loading accounts for every name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from g2sd_mm.checkpoints import CheckpointError, Weights, load_verified

from ..helpers.toys import words


def net() -> nn.Module:
    return nn.ModuleDict({'a': nn.Linear(2, 3), 'b': nn.Linear(3, 1)})


def load(module: nn.Module, state: dict, **options) -> None:
    weights = Weights('/some/folder/file.pth', state)
    load_verified(module, state, weights, purpose='the test', **options)


def test_a_file_that_fits_is_loaded():
    source, target = net(), net()
    load(target, source.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(),
                                                 strict=True))


def test_dtype_stays_the_modules():
    target = net().double()
    load(target, net().state_dict())
    assert {p.dtype for p in target.parameters()} == {torch.float64}


def test_every_deviation_is_named_in_one_line():
    state = net().state_dict()
    state['a.weight'] = torch.zeros(4, 2)
    del state['b.bias']
    state |= {f'c.{i}': torch.zeros(1) for i in range(5)}
    target = net()
    before = target.a.bias.clone()
    message = words(
        'file.pth cannot serve as the test: it is a file of another model',
        '1 of another size (a.weight is 4x2, expected 3x2)', '1 missing (b.bias)',
        '5 unknown (c.0, c.1, c.2 and 2 more)', 'Try another.',
    )
    with pytest.raises(CheckpointError, match=message) as caught:
        load(target, state, advice='Try another.')
    assert '\n' not in str(caught.value)
    assert '/some/folder' not in str(caught.value)
    assert torch.equal(target.a.bias, before)  # nothing was loaded


def test_exceptions_are_patterns():
    state, target = net().state_dict(), net()
    kept = target.b.bias.clone()
    del state['b.bias']
    state['c.1'] = torch.zeros(1)
    load(target, state, may_miss=('b.*',), may_ignore=('c.*',))
    assert torch.equal(target.b.bias, kept)
    assert torch.equal(target.a.weight, state['a.weight'])
    with pytest.raises(CheckpointError, match=words('1 missing (b.bias)')):
        load(target, state, may_miss=('b.weight',), may_ignore=('c.*',))


def test_a_size_is_never_an_exception():
    state = {**net().state_dict(), 'b.bias': torch.zeros(7)}
    with pytest.raises(CheckpointError, match=words('b.bias is 7, expected 1')):
        load(net(), state, may_miss=('*',), may_ignore=('*',))
