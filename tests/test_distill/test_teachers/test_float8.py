"""A teacher whose linear layers compute in float8."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from g2sd_mm.distill.teachers.eight_bits import Float8Linear, check_device, use_float8
from g2sd_mm.errors import UserError

from ...helpers.toys import arch, decoder, distiller, images

TEACHER = {
    'random_weights': True, 'arch': arch(32, 2, 2), 'decoder': decoder(32, 2, 2),
    'until': 'decoder_blocks.0',
}  # fmt: skip


def rounded(rows: torch.Tensor) -> torch.Tensor:
    """Rows in e4m3, written out: 4 significant bits, exponents down to -6, up to 448."""
    scale = rows.abs().amax(1, keepdim=True).double() / 448
    scaled = rows.double() / scale
    exponent = scaled.abs().clamp(min=2.0**-6).log2().floor()
    step = 2.0 ** (exponent - 3)
    return (scaled / step).round() * step * scale


@pytest.mark.parametrize('bias', [True, False])
def test_it_is_the_product_of_rounded_weights_and_inputs(bias):
    layer, x = nn.Linear(48, 32, bias=bias).bfloat16(), torch.randn(2, 5, 48).bfloat16()
    weight, inputs = rounded(layer.weight.detach()), rounded(x.flatten(0, 1))
    written_out = (inputs @ weight.T).view(2, 5, 32) + (layer.bias.detach() if bias else 0)
    exact = layer(x).detach()
    use_float8(layer)
    assert type(layer) is Float8Linear
    with torch.no_grad():
        got = layer(x)
    assert got.dtype == torch.bfloat16 and got.shape == exact.shape
    torch.testing.assert_close(got.double(), written_out.double(), rtol=0.02, atol=0.01)
    assert 0.005 < float((got - exact).norm() / exact.norm()) < 0.06


def test_the_rest_of_a_teacher_is_what_it_was():
    kinds = ('bfloat16', 'float8')
    plain, quick = (distiller(teacher={**TEACHER, 'dtype': kind}) for kind in kinds)
    assert quick.teacher.checksum() == plain.teacher.checksum()
    assert quick.teacher.model.state_dict().keys() == plain.teacher.model.state_dict().keys()
    assert {type(m) for m in quick.teacher.model.modules() if isinstance(m, nn.Linear)} == {
        Float8Linear
    }
    assert not any(isinstance(m, Float8Linear) for m in quick.student.modules())
    view = plain.student.draw_view(images(2))
    one, two = (model.teacher(images(2), view).tokens.float() for model in (plain, quick))
    assert 0 < float((two - one).norm() / one.norm()) < 0.1
    quick(images(2), mode='loss')['loss_tokens'].backward()


def test_layers_of_other_widths_stay_as_they_are():
    network = nn.Sequential(nn.Linear(16, 24), nn.Linear(24, 16), nn.Linear(16, 16))
    use_float8(network)
    assert [type(layer) is Float8Linear for layer in network] == [False, False, True]


def test_weights_that_are_loaded_later_are_rounded_anew():
    layer = nn.Linear(16, 16).bfloat16()
    use_float8(layer)
    x = torch.randn(3, 16).bfloat16()
    with torch.no_grad():
        before = layer(x)
        layer.weight.mul_(2)
        layer.bias.mul_(2)
        torch.testing.assert_close(layer(x), 2 * before, rtol=0.02, atol=0.02)


def test_a_row_of_zeros_stays_zero():
    layer = nn.Linear(16, 16, bias=False).bfloat16()
    use_float8(layer)
    with torch.no_grad():
        assert torch.equal(layer(torch.zeros(2, 16).bfloat16()), torch.zeros(2, 16).bfloat16())


def test_an_older_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: (8, 0))
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda device: 'an older one')
    with pytest.raises(UserError, match=r'float8.*an older one'):
        check_device('float8', torch.device('cuda'))
    check_device('float8', torch.device('cpu'))


def test_an_older_torch_is_told(monkeypatch):
    monkeypatch.delattr(torch.nn.functional, 'scaled_mm')
    with pytest.raises(UserError, match='float8'):
        use_float8(nn.Linear(16, 16))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
@pytest.mark.parametrize('compiled', [False, True])
def test_a_gpu_computes_the_same_product(compiled):
    device = torch.device('cuda')
    if torch.cuda.get_device_capability(device) < (8, 9):
        pytest.skip('no float8 on this GPU')
    layer, x = nn.Linear(64, 32).bfloat16(), torch.randn(48, 64).bfloat16()
    use_float8(layer)
    with torch.no_grad():
        wanted = layer(x)
        layer.to(device)
        run = torch.compile(layer) if compiled else layer
        torch.testing.assert_close(run(x.to(device)).cpu(), wanted, rtol=0.03, atol=0.03)
