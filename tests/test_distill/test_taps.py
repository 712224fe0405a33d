"""Taps record what named modules put out, while asked to and no longer."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from timm.models import vision_transformer
from torch import nn
from torch.utils.checkpoint import checkpoint

from g2sd_mm.distill import Taps
from g2sd_mm.errors import ConfigError
from g2sd_mm.models.cross_decoder import CrossAttention
from g2sd_mm.models.vit import Attention, Block

from ..helpers.toys import refused, words


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


def test_several_paths_are_in_the_order_that_they_are_given_in():
    net, x = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3))), torch.randn(3, 4)
    with Taps(net, {'some': ('2', '0', '2')}).record() as heard:
        net(x)
    expected = [net(x), net[0](x), net(x)]
    assert all(torch.equal(a, b) for a, b in zip(heard['some'], expected, strict=True))


def test_of_several_paths_none_may_be_silent():
    net = Net()
    taps = Taps(net, {'some': ('body', 'head')})
    with pytest.raises(RuntimeError, match=words("tap 'some': module 'head'")), taps.record():
        net.body(torch.randn(3, 4))


def test_what_was_overwritten_later_is_refused():
    net, x = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True)), torch.randn(3, 4)
    for path in ('0', '1:input'):
        with refused("tap 'x'", f"'{path}'", 'inplace'), Taps(net, {'x': path}).record():
            net(x)
    with Taps(net, {'x': '1'}).record() as heard:
        net(x)
    assert torch.equal(heard['x'], net(x))


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.frozen, self.block = nn.Linear(4, 4).requires_grad_(False), Net()

    def forward(self, x):
        x = self.frozen(x).requires_grad_()
        return checkpoint(lambda x: self.block(x)[0], x, use_reentrant=True)


def test_inside_of_a_checkpointed_block_a_trained_network_is_not_heard():
    net, x = Checkpointed(), torch.randn(3, 4)
    message = words("tap 'x': 'block.head'", 'with_cp=False')
    taps = Taps(net, {'x': 'block.head'})
    with pytest.raises(ConfigError, match=message), taps.record(trained=True):
        net(x)
    with taps.record():  # of what trains nothing the value is enough
        net(x)
    with torch.no_grad(), taps.record(trained=True):
        net(x)
    with Taps(net, {'x': 'frozen', 'y': 'block:input'}).record() as heard:
        net(x)
    assert len(heard) == 2


# Parts of attention -------------------------------------------------------------------------------


def test_attention_is_heard_without_leaving_the_fused_kernel(monkeypatch):
    block, x = Block(12, 3), torch.randn(2, 5, 12)
    fused, calls = torch.nn.functional.scaled_dot_product_attention, []
    monkeypatch.setattr(
        torch.nn.functional, 'scaled_dot_product_attention',
        lambda *args: calls.append(args) or fused(*args),
    )  # fmt: skip
    paths = {part: f'attn:{part}' for part in ('q', 'k', 'v', 'scores')}
    with Taps(block, paths).record() as heard:
        block(x)
    ((q, k, v),) = calls
    assert all(torch.equal(heard[part], t) for part, t in zip('qkv', (q, k, v), strict=True))
    assert torch.allclose(heard['scores'], q @ k.transpose(-2, -1) / 2, atol=1e-6)  # sqrt(12 / 3)
    attended = heard['scores'].softmax(-1) @ heard['v']
    own = block.attn.proj(attended.transpose(1, 2).reshape(2, 5, 12))
    assert torch.allclose(own, block.attn(block.norm1(x)), atol=1e-6)
    assert heard['scores'].requires_grad


def test_scores_of_timm_follow_its_norms_of_queries_and_keys():
    timm_block = vision_transformer.Block(12, 3, qk_norm=True)
    attention, x = timm_block.attn, torch.randn(2, 5, 12)
    with Taps(timm_block, {'scores': 'attn:scores'}).record() as heard:
        timm_block(x)
    q, k, _ = attention.qkv(timm_block.norm1(x)).reshape(2, 5, 3, 3, 4).permute(2, 0, 3, 1, 4)
    expected = attention.q_norm(q) * attention.scale @ attention.k_norm(k).transpose(-2, -1)
    assert torch.allclose(heard['scores'], expected, atol=1e-6)


def test_inputs_and_outputs_are_one_list():
    net, x = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3))), torch.randn(3, 4)
    with Taps(net, {'all': ('0:input', '*'), 'first': '0:input'}).record() as heard:
        net(x)
    assert heard['first'] is x
    expected = [x, *(net[:i](x) for i in (1, 2, 3))]
    assert all(torch.equal(a, b) for a, b in zip(heard['all'], expected, strict=True))


def test_parts_that_a_module_does_not_have():
    class Biased(Attention):
        def attend(self, q, k, v, grid):
            return v

    for module, path in (
        (nn.Linear(4, 4), 'x:scores'), (Biased(12, 3), 'x:q'), (CrossAttention(12, 3), 'x:k')
    ):
        with refused(f"'{path}' is a {type(module).__name__}", 'plain self-attention'):
            Taps(nn.ModuleDict({'x': module}), {'tap': path})
    with refused("'x:weights' ends with none of :input, :q"):
        Taps(nn.ModuleDict({'x': Attention(12, 3)}), {'tap': 'x:weights'})
