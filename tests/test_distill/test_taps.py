"""Taps record what named modules put out, while asked to and no longer."""

from __future__ import annotations

import contextlib
import copy
import gc
import weakref

import pytest
import torch
from timm.models import vision_transformer
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.checkpoint import checkpoint

from g2sd_mm.distill import Taps
from g2sd_mm.engine.hooks.compile import compile_blocks
from g2sd_mm.errors import ConfigError
from g2sd_mm.models.mae import CrossAttention
from g2sd_mm.models.vit import Attention, Block, VisionTransformer

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
    assert not taps._listening and not any(place.heard for place in taps._all())


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


def test_a_module_that_stands_in_a_row_twice_counts_in_both_places():
    first, other = nn.Linear(4, 4), nn.Linear(4, 4)
    net, x = nn.Sequential(first, other, first), torch.randn(3, 4)
    with Taps(net, {'last': '-1', 'middle': '-2'}).record() as heard:
        net(x)
    assert torch.equal(heard['last'][-1], net(x))
    assert torch.equal(heard['middle'], net[:2](x))


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


class Replaced(nn.Module):
    """A pyramid that puts other tensors into the list that its backbone gave."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Levels()

    def forward(self, x):
        levels = self.backbone(x)
        levels['fine'][0] = levels['fine'][0] + 100
        levels['fine'].append(x)
        levels['coarse'] = x
        return levels


class Levels(nn.Module):
    def forward(self, x):
        return {'fine': [x * 2, x * 3]}


def test_what_is_put_into_a_list_later_was_not_heard():
    net, x = Replaced(), torch.randn(3, 4)
    with Taps(net, {'levels': 'backbone'}).record() as heard:
        net(x)
    assert set(heard['levels']) == {'fine'}
    fine = heard['levels']['fine']
    assert all(torch.equal(a, b) for a, b in zip(fine, (x * 2, x * 3), strict=True))


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


def encoder(with_cp: bool = False) -> VisionTransformer:
    torch.manual_seed(0)
    arch = dict(embed_dim=12, depth=3, num_heads=3, patch_size=8)
    network = VisionTransformer(arch, img_size=16, with_cp=with_cp).train()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network


def encode(network: VisionTransformer, images: Tensor) -> Tensor:
    tokens, beside = network.embed(images)
    for block in network.blocks:
        tokens = network.run(block, tokens, beside)
    return tokens


def heard_and_gradients(network: VisionTransformer, path: str | tuple[str, ...]) -> list[Tensor]:
    """What a tap hears in a pass, and gradients of a loss on it."""
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with Taps(network, {'tap': path}).record(trained=True) as heard:
        encode(network, images)
    values = heard['tap'] if isinstance(heard['tap'], list) else [heard['tap']]
    torch.stack([value.sin().square().mean() for value in values]).sum().backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert gradients
    return [*values, *gradients]


@pytest.mark.parametrize(
    'path', ['blocks.1.attn:scores', 'blocks.*.attn:q', 'blocks.1.attn.qkv', 'blocks.2:input']
)
def test_a_checkpointed_encoder_is_heard_like_any(path):
    plain = heard_and_gradients(encoder(), path)
    checkpointed = heard_and_gradients(encoder(with_cp=True), path)
    for a, b in zip(plain, checkpointed, strict=True):
        assert torch.allclose(a, b, atol=1e-6)


# Compiled blocks ----------------------------------------------------------------------------------


@pytest.fixture
def graphs(monkeypatch):
    """Counts what Dynamo compiles, without a compiler behind it."""
    counter, compiled = CompileCounterWithBackend('eager'), nn.Module.compile
    monkeypatch.setattr(
        Block, 'compile', lambda self, **options: compiled(self, backend=counter, **options)
    )
    torch._dynamo.reset()
    yield counter
    torch._dynamo.reset()


@pytest.mark.parametrize(
    'path', ['blocks.-1.attn:scores', ('blocks.1.norm1', 'blocks.2.mlp:input')]
)
def test_a_tap_inside_of_a_later_block_hears_it_compiled(path, graphs):
    plain, network = heard_and_gradients(encoder(), path), encoder()
    compile_blocks(network)
    compiled = heard_and_gradients(network, path)
    assert graphs.frame_count
    for a, b in zip(plain, compiled, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_blocks_that_are_tapped_alike_share_what_is_compiled(graphs):
    network = encoder()
    taps = Taps(network, {'all': 'blocks.*.attn:scores'})
    compile_blocks(network)
    numbers = []
    for blocks in (network.blocks[:1], network.blocks, network.blocks):
        with contextlib.suppress(RuntimeError), taps.record(trained=True):  # of those not called
            tokens, beside = network.embed(torch.randn(2, 3, 16, 16))
            for block in blocks:
                tokens = network.run(block, tokens, beside)
        numbers.append(graphs.frame_count)
    assert numbers[0] == numbers[1] == numbers[2] > 0


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


def test_scores_are_as_exact_as_the_pass_that_they_are_of():
    """A teacher's pass has no autocast, whatever its student has around it."""
    network = Block(16, 2)
    taps, tokens = Taps(network, {'scores': 'attn:scores'}), torch.randn(2, 5, 16)
    with taps.record() as plain:
        network(tokens)
    student, teacher = torch.autocast('cpu', torch.bfloat16), torch.autocast('cpu', enabled=False)
    with student, taps.record() as seen, teacher:
        network(tokens)
    assert torch.equal(seen['scores'], plain['scores'])
    with torch.autocast('cpu', torch.bfloat16), taps.record() as seen:
        network(tokens)
    assert seen['scores'].dtype == torch.bfloat16


def test_a_copied_network_brings_no_second_one_with_its_taps():
    network = nn.Sequential(nn.Linear(2, 2))
    taps = Taps(network, {'one': '0'})
    assert copy.deepcopy(taps) is taps


def test_scores_of_timm_follow_its_norms_of_queries_and_keys():
    timm_block = vision_transformer.Block(12, 3, qk_norm=True)
    attention, x = timm_block.attn, torch.randn(2, 5, 12)
    with Taps(timm_block, {'scores': 'attn:scores', 'norm': 'attn.q_norm'}).record() as heard:
        timm_block(x)
    assert isinstance(heard['norm'], Tensor)  # computing scores is no call of the network's
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


class ByKeyword(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.mixed = nn.Linear(4, 4), Mixed()

    def forward(self, x):
        return self.mixed(scale=2, x=self.layer(input=x))


class Mixed(nn.Module):
    def forward(self, x=0, scale=1):
        return x * scale


def test_the_first_input_may_have_been_given_by_its_name():
    net, x = ByKeyword(), torch.randn(3, 4)
    with Taps(net, {'layer': 'layer:input', 'mixed': 'mixed:input'}).record() as heard:
        net(x)
    assert heard['layer'] is x
    assert torch.equal(heard['mixed'], net.layer(x))
    with refused("tap 'x'", "'mixed:input'", "'x'"), Taps(net, {'x': 'mixed:input'}).record():
        net.mixed(scale=2)


def test_a_path_that_is_refused_leaves_nothing_on_the_network():
    net = Net()
    with refused("'head:wrong'"):
        Taps(net, {'right': 'body', 'wrong': 'head:wrong'})
    assert not net.body._forward_hooks


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
