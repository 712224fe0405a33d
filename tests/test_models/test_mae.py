"""The masked autoencoder and its pre-training."""

from __future__ import annotations

import pytest
import torch

from g2sd_mm.errors import ConfigError
from g2sd_mm.models.mae import (
    MAEPretraining,
    MaskedAutoencoder,
    patchify,
    pixel_loss,
    unpatchify,
)
from g2sd_mm.models.masking import counter_noise, random_masking, some_hidden
from g2sd_mm.models.positions import sincos_position_embedding

from ..helpers.toys import IMAGE, PATCHES, STUDENT, TEACHER, autoencoder, images, words


def masking(number: int = 2, ratio: float = 0.75):
    return random_masking(torch.rand(number, PATCHES), ratio)


def test_every_parameter_of_a_student_gets_a_gradient():
    """Without a pixel head nothing is left over, so plain DDP works."""
    model, shared = autoencoder(STUDENT, pixel_head=False), masking()
    model.decode(model.encode(images(), shared).latent, shared).square().sum().backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_every_parameter_of_a_pre_training_model_gets_a_gradient():
    model = MAEPretraining(**TEACHER)
    model.init_weights()
    model(images(), mode='loss')['loss'].backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_positions_are_frozen_parameters_with_the_published_table():
    model = autoencoder()
    for name, dim in (('pos_embed', 24), ('decoder_pos_embed', 20)):
        table = dict(model.named_parameters())[name]
        assert not table.requires_grad
        assert torch.equal(table, sincos_position_embedding(dim, (4, 4)))
        assert name in model.state_dict()


def test_names_are_the_published_ones():
    names = set(autoencoder(STUDENT).state_dict())
    block = {
        f'{part}.{kind}'
        for part in ('norm1', 'norm2', 'attn.qkv', 'attn.proj', 'mlp.fc1', 'mlp.fc2')
        for kind in ('weight', 'bias')
    }
    expected = {'cls_token', 'pos_embed', 'mask_token', 'decoder_pos_embed'}
    expected |= {f'{stack}.{i}.{n}' for stack in ('blocks', 'decoder_blocks') for i in (0, 1)
                 for n in block}
    for layer in ('patch_embed.proj', 'norm', 'decoder_embed', 'decoder_norm', 'decoder_pred'):
        expected |= {f'{layer}.weight', f'{layer}.bias'}
    assert names == expected


def test_initialisation_is_maes():
    model = autoencoder(dict(TEACHER, arch=dict(embed_dim=64, depth=1, num_heads=2, patch_size=8)))
    projection = model.patch_embed.proj.weight
    limit = (6 / (64 + 3 * 8 * 8)) ** 0.5  # Xavier on the flattened matrix
    assert limit * 0.99 < projection.abs().max() <= limit
    limit = (6 / (64 + 4 * 64)) ** 0.5
    assert limit * 0.99 < model.blocks[0].mlp.fc1.weight.abs().max() <= limit
    assert 0.01 < model.cls_token.std() < 0.03
    assert model.mask_token.abs().sum() > 0
    assert not model.blocks[0].attn.qkv.bias.any()


def test_an_image_of_another_size_is_refused():
    with pytest.raises(ValueError, match=words('built for 32x32 px', 'got 40x40', 'img_size')):
        autoencoder().encode(images(size=40), masking())


def test_the_encoder_sees_visible_patches_only():
    model, shared, pixels = autoencoder(), masking(), images()
    latent = model.encode(pixels, shared).latent
    assert latent.shape == (2, 1 + PATCHES // 4, 24)
    hidden = unpatchify(shared.mask.unsqueeze(-1).expand(-1, -1, 3 * 64), 8)
    changed = torch.where(hidden.bool(), torch.randn_like(pixels), pixels)
    assert torch.equal(model.encode(changed, shared).latent, latent)


def test_latent_is_the_normalised_prenorm():
    model = autoencoder()
    encoded = model.encode(images(), masking())
    assert torch.equal(model.norm(encoded.prenorm), encoded.latent)
    assert not torch.equal(encoded.prenorm, encoded.latent)


def test_the_decoder_puts_tokens_back_in_raster_order():
    """With decoder blocks that do nothing, each token is its own content plus its position."""
    model, shared = autoencoder(), masking()
    latent = model.encode(images(), shared).latent
    tokens = model.decode(latent, shared, until=0) - model.decoder_pos_embed
    embedded = model.decoder_embed(latent)
    assert torch.allclose(tokens[:, 0], embedded[:, 0], atol=1e-6)
    visible = shared.keep.unsqueeze(-1).expand(-1, -1, 20)
    assert torch.allclose(tokens[:, 1:].gather(1, visible), embedded[:, 1:], atol=1e-6)
    hidden = tokens[:, 1:][shared.mask.bool()]
    assert torch.allclose(hidden, model.mask_token[0].expand_as(hidden), atol=1e-6)


def test_the_decoder_stops_after_the_asked_block():
    model, shared = autoencoder(), masking()
    latent = model.encode(images(), shared).latent
    one = model.decode(latent, shared, until=1)
    assert torch.equal(model.decoder_blocks[1](one), model.decode(latent, shared, until=2))
    assert torch.equal(model.decode(latent, shared), model.decode(latent, shared, until=3))


def test_patchify_is_undone():
    pixels = images()
    assert torch.equal(unpatchify(patchify(pixels, 8), 8), pixels)
    assert torch.equal(patchify(pixels, 8)[0, 1, :3], pixels[0, :, 0, 8])  # channels fastest


def test_pixel_loss_looks_at_masked_patches_only():
    pixels, mask = images(), masking().mask
    predicted = patchify(pixels, 8)
    predicted = predicted + 10 * (1 - mask).unsqueeze(-1)
    assert pixel_loss(predicted, pixels, mask, 8, norm_pix=False) == 0
    predicted = predicted + 2 * mask.unsqueeze(-1)
    assert pixel_loss(predicted, pixels, mask, 8, norm_pix=False).item() == pytest.approx(4)


def test_normalised_pixels_are_of_each_patch():
    pixels, mask = 100 * images() + 50, masking().mask
    loss = pixel_loss(torch.zeros(2, PATCHES, 192), pixels, mask, 8)
    assert loss.item() == pytest.approx(191 / 192, rel=1e-5)  # unbiased variance


def test_a_pre_trained_model_gives_the_class_feature_of_the_whole_image():
    model = MAEPretraining(**TEACHER)
    model.init_weights()
    features = model(images(3))
    assert features.shape == (3, 24)
    changed = images(3)
    changed[:, :, -1, -1] += 100  # every patch counts
    assert not torch.allclose(model(changed), features, atol=1e-3)


def test_pre_training_masks_by_the_samples_seeds():
    from mmengine.structures import BaseDataElement

    model = MAEPretraining(**TEACHER)
    model.init_weights()
    samples = [BaseDataElement(metainfo={'sample_seed': seed}) for seed in (3, 4)]
    first = model(images(), samples, mode='loss')['loss']
    torch.manual_seed(123)
    assert torch.equal(model(images(), samples, mode='loss')['loss'], first)


def test_pre_training_without_hidden_patches_is_refused():
    with pytest.raises(ConfigError, match=words('model.mask_ratio=0')):
        MAEPretraining(**STUDENT, mask_ratio=0)


def test_what_pre_training_deploys_is_the_plain_autoencoder():
    model = MAEPretraining(**TEACHER)
    plain = MaskedAutoencoder(**TEACHER)
    plain.load_state_dict(model.deployable_state())
    assert plain.grid_size == (IMAGE // 8, IMAGE // 8)


def test_decoding_all_hidden_patches_by_number_is_decoding_all():
    model, pixels = autoencoder(), images()
    masking = random_masking(torch.rand(2, PATCHES), 0.75)
    latent = model.encode(pixels, masking).latent
    whole = model.decode(latent, masking, until=2)
    some = model.decode(latent, masking._replace(hidden=some_hidden(masking, 1.0)), until=2)
    assert torch.allclose(some[:, 0], whole[:, 0], atol=1e-5)
    order = torch.cat([masking.keep, some_hidden(masking, 1.0)], dim=1)
    raster = whole[:, 1:].gather(1, order.unsqueeze(-1).expand(-1, -1, whole.shape[2]))
    assert torch.allclose(some[:, 1:], raster, atol=1e-5)


def test_decoding_some_leaves_the_others_out():
    model, pixels = autoencoder(), images()
    masking = random_masking(torch.rand(2, PATCHES), 0.75)
    latent = model.encode(pixels, masking).latent
    masking = masking._replace(hidden=some_hidden(masking, 0.5))
    assert model.decode(latent, masking).shape == (2, 1 + 4 + 6, 20)


def test_a_rectangular_image_is_masked_decoded_and_put_together_again():
    """Twice as wide as high; the token in row 1, column 6 is that place of the image."""
    model = autoencoder(TEACHER, img_size=(32, 64))
    pixels = torch.randn(2, 3, 32, 64)
    assert (model.grid_size, model.num_patches) == ((4, 8), 32)
    assert torch.equal(unpatchify(patchify(pixels, 8), 8, (4, 8)), pixels)
    assert torch.equal(patchify(pixels, 8)[0, 8 + 6, :3], pixels[0, :, 8, 48])
    table = sincos_position_embedding(24, (4, 8))
    assert torch.equal(model.pos_embed, table)
    shared = random_masking(counter_noise(torch.tensor([1, 2]), 32), 0.75)
    visible = model.patch_embed.visible(pixels, shared.keep)
    everything = model.patch_embed(pixels)
    chosen = shared.keep.unsqueeze(-1).expand(-1, -1, 24)
    assert torch.allclose(visible, everything.gather(1, chosen), atol=1e-5)
    assert model(pixels, shared).shape == (2, 32, 3 * 64)
    with pytest.raises(ValueError, match='built for 32x64 px images and got 64x32'):
        model.encode(pixels.transpose(2, 3), shared)


def test_patches_of_no_square_need_their_grid():
    with pytest.raises(ValueError, match='do not form a square grid'):
        unpatchify(torch.zeros(1, 8, 12), 2)


@pytest.mark.parametrize('channels', [1, 2, 4, 13])
def test_pixels_of_any_number_of_channels_are_predicted(channels):
    model = MAEPretraining(**STUDENT, in_channels=channels)
    pixels = torch.randn(2, channels, 32, 32)
    assert model.autoencoder.decoder_pred.out_features == channels * 64
    assert model(pixels, mode='loss')['loss'].isfinite()
