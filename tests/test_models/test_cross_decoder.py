"""A decoder in which hidden tokens look at visible ones alone, and at nothing else."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from g2sd_mm.models.mae import MAEPretraining, MaskedAutoencoder
from g2sd_mm.models.masking import Masking, random_masking, some_hidden

from ..helpers.toys import PATCHES, STUDENT, autoencoder, images, refused

WIDTH, HIDDEN = 12, 12


def masking(number: int = 2) -> Masking:
    noise = torch.rand(number, PATCHES, generator=torch.Generator().manual_seed(1))
    return random_masking(noise, 0.75)


def model(**changes) -> MaskedAutoencoder:
    """With gains and biases that are not those of the start, so that each of them counts."""
    made = autoencoder(STUDENT, decoder_attention='cross', **changes)
    generator = torch.Generator().manual_seed(3)
    for name, parameter in made.named_parameters():
        if name.startswith('decoder_') and parameter.requires_grad:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data += 0.2 * noise
    return made


def plain(made: MaskedAutoencoder, latent: Tensor, view: Masking, blocks: int) -> Tensor:
    """The same, image by image, patch by patch and head by head."""
    state, answers = made.state_dict(), []
    for b in range(len(latent)):
        visible = F.linear(
            latent[b], state['decoder_embed.weight'], state['decoder_embed.bias']
        )
        place = {int(p): i for i, p in enumerate(view.keep[b])}
        table = state['decoder_pos_embed'][0]
        context = torch.stack(
            [visible[0] + table[0]]
            + [visible[1 + i] + table[1 + p] for p, i in place.items()]
        )
        rows = [visible[0]]
        for patch in range(PATCHES):
            if patch in place:
                rows.append(visible[1 + place[patch]])
                continue
            x = state['mask_token'][0, 0] + table[1 + patch]
            for number in range(blocks):
                x = _block(x, context, state, f'decoder_blocks.{number}.')
            rows.append(x)
        answers.append(torch.stack(rows))
    return torch.stack(answers)


def _block(x: Tensor, context: Tensor, state: dict[str, Tensor], place: str) -> Tensor:
    def norm(tokens: Tensor, name: str) -> Tensor:
        mean = tokens.mean(-1, keepdim=True)
        std = (tokens.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
        own = state[f'{place}{name}.weight'], state[f'{place}{name}.bias']
        return (tokens - mean) / std * own[0] + own[1]

    def linear(tokens: Tensor, name: str) -> Tensor:
        return tokens @ state[f'{place}{name}.weight'].T + state[f'{place}{name}.bias']

    q = linear(norm(x, 'norm1'), 'attn.q')
    both = linear(norm(context, 'norm_context'), 'attn.kv')
    k, v = both[:, :WIDTH], both[:, WIDTH:]
    heads, head = [], WIDTH // 2
    for i in range(2):
        part = slice(i * head, (i + 1) * head)
        weights = (k[:, part] @ q[part] / head**0.5).softmax(0)
        heads.append(weights @ v[:, part])
    x = x + linear(torch.cat(heads), 'attn.proj')
    return x + linear(F.gelu(linear(norm(x, 'norm2'), 'mlp.fc1')), 'mlp.fc2')


@pytest.mark.parametrize('until', [None, 1])
def test_it_computes_what_a_plain_loop_computes(until):
    made, view = model(), masking()
    latent = made.encode(images(), view).latent
    found = made.decode(latent, view, until)
    assert found.shape == (2, 1 + PATCHES, WIDTH)
    expected = plain(made, latent, view, until or 2)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_visible_tokens_are_the_encoders_in_raster_order():
    made, view = model(), masking()
    latent = made.encode(images(), view).latent
    found = made.decode(latent, view)
    embedded = made.decoder_embed(latent)
    for b in range(2):
        assert torch.equal(found[b, 0], embedded[b, 0])
        assert torch.equal(found[b, 1:][view.keep[b]], embedded[b, 1:])


def test_hidden_tokens_do_not_see_each_other():
    """With some of them left out, those that remain do not change."""
    made, view = model(), masking()
    latent = made.encode(images(), view).latent
    whole = made.decode(latent, view)
    some = view._replace(hidden=some_hidden(view, 0.25))
    few = made.decode(latent, some)
    assert few.shape == (2, 1 + 4 + 3, WIDTH)
    for b in range(2):
        torch.testing.assert_close(few[b, 5:], whole[b, 1:][some.hidden[b]])
        torch.testing.assert_close(few[b, 1:5], whole[b, 1:][view.keep[b]])
    other = autoencoder(STUDENT)  # as they do by self-attention
    latent = other.encode(images(), view).latent
    first = other.decode(latent, view)[0, 1:][some.hidden[0]]
    assert not torch.allclose(other.decode(latent, some)[0, 5:], first, atol=1e-4)


def test_every_hidden_token_depends_on_every_visible_one_alone():
    made, view = model(), masking(1)
    latent = made.encode(images(1), view).latent.detach().requires_grad_()
    hidden = some_hidden(view, 1.0)[0]
    found = made.decode(latent, view)[0, 1:]
    for patch in hidden[:3]:
        (gradient,) = torch.autograd.grad(found[patch].sum(), latent, retain_graph=True)
        assert bool((gradient[0].abs().sum(-1) > 0).all())
    (gradient,) = torch.autograd.grad(found[view.keep[0, 0]].sum(), latent)
    assert torch.equal(gradient[0].abs().sum(-1) > 0, torch.tensor([False, True] + 3 * [False]))


def test_gradients_are_those_of_finite_differences():
    made, view = model().double(), masking(1)
    latent = made.encode(images(1).double(), view).latent.detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: made.decode(x, view), (latent,))


def test_every_parameter_learns_with_and_without_recomputation():
    found = []
    for with_cp in (False, True):
        made, view = model(with_cp=with_cp).train(), masking()
        made(images(), view).square().mean().backward()
        grads = {n: p.grad for n, p in made.named_parameters() if p.requires_grad}
        assert all(grad is not None and bool(grad.any()) for grad in grads.values())
        found.append(grads)
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_pixels_are_predicted_with_either_decoder():
    for kind in ('self', 'cross'):
        made = MAEPretraining(**STUDENT, decoder_attention=kind)
        made.autoencoder.init_weights()
        assert made(images(), mode='loss')['loss'] > 0


def test_another_kind_is_refused_by_name():
    with refused("decoder_attention='both'", 'self, cross'):
        MaskedAutoencoder(**STUDENT, decoder_attention='both')


def test_a_tap_hears_all_tokens_of_either_decoder():
    view = masking()
    for made in (model(), autoencoder(STUDENT)):
        heard = []
        made.decoded.register_forward_hook(lambda module, args, out, into=heard: into.append(out))
        found = made.decode(made.encode(images(), view).latent, view)
        assert len(heard) == 1 and torch.equal(heard[0], found)
        assert 'decoded' not in str(list(made.state_dict()))
