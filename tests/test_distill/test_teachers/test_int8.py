"""A teacher whose linear layers compute in 8-bit integers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from g2sd_mm.distill.teachers.eight_bits import Int8Linear, use_int8
from g2sd_mm.errors import UserError

from ...helpers.toys import distiller, images

RANDOM = {'random_weights': True}


@pytest.mark.parametrize('bias', [True, False])
def test_it_is_the_product_of_rounded_weights_and_inputs(bias):
    layer, x = nn.Linear(24, 16, bias=bias), torch.randn(2, 5, 24)
    exact = layer(x).detach()
    use_int8(layer)
    # written out: weights with a scale for each output, inputs with one scale, both in 8 bits
    scales = layer.weight.detach().abs().amax(1, keepdim=True) / 127
    weight = (layer.weight.detach() / scales).round() * scales
    low, high = min(x.min().item(), 0), max(x.max().item(), 0)
    step = (high - low) / 255
    zero = round(-low / step)
    rounded = ((x / step).round() + zero).clamp(0, 255).sub(zero) * step
    written_out = nn.functional.linear(rounded, weight, layer.bias).detach()
    with torch.no_grad():
        assert torch.allclose(layer(x), written_out, atol=2 * step * scales.max().item() * 127)
    assert 0 < (written_out - exact).norm() / exact.norm() < 0.02
    assert (layer(x).detach() - exact).norm() / exact.norm() < 0.02


def test_the_rest_of_a_teacher_is_what_it_was():
    plain, quick = distiller(), distiller(teacher={**RANDOM, 'dtype': 'int8'})
    assert quick.teacher.checksum() == plain.teacher.checksum()
    assert quick.teacher.model.state_dict().keys() == plain.teacher.model.state_dict().keys()
    kinds = {type(m) for m in quick.teacher.model.modules() if isinstance(m, nn.Linear)}
    assert kinds == {Int8Linear}
    assert not any(isinstance(m, Int8Linear) for m in quick.student.modules())
    view = plain.student.draw_view(images(2))
    one, two = (model.teacher(images(2), view).tokens for model in (plain, quick))
    assert two.dtype == torch.float32
    assert 0 < (two - one).norm() / one.norm() < 0.05
    losses = quick(images(2), mode='loss')
    losses['loss_tokens'].backward()


def test_weights_that_are_loaded_later_are_rounded_anew():
    layer = nn.Linear(8, 8)
    use_int8(layer)
    x = torch.randn(3, 8)
    with torch.no_grad():
        layer(x)
        layer.weight.mul_(2)
        expected = nn.functional.linear(x, layer.weight, layer.bias)
        assert (layer(x) - expected).norm() / expected.norm() < 0.05


def test_it_is_for_cpus():
    with pytest.raises(UserError, match='int8'):
        distiller(teacher={**RANDOM, 'dtype': 'int8'}).teacher.to(torch.device('cuda'))


def test_a_machine_without_the_kernels_is_told(monkeypatch):
    monkeypatch.setattr(type(torch.backends.quantized), 'supported_engines', ['none'])
    with pytest.raises(UserError, match='bfloat16'):
        use_int8(nn.Linear(2, 2))
