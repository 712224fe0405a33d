"""Stage 1: a small autoencoder learns a large one's hidden features."""

from __future__ import annotations

import pytest
import torch
from mmengine.structures import BaseDataElement

from g2sd_mm.distill import generic
from g2sd_mm.distill.losses.feature import normalised_target, smooth_l1_feature_loss
from g2sd_mm.models.mae import MaskedAutoencoder
from g2sd_mm.models.masking import Masking, random_masking

from ..toys import PATCHES, STUDENT, TEACHER, arch, distiller, images, words


def masking(number: int = 2) -> Masking:
    noise = torch.rand(number, PATCHES, generator=torch.Generator().manual_seed(1))
    return random_masking(noise, 0.75)


def gradients(model: torch.nn.Module) -> dict[str, bool]:
    """Trainable parameter -> has a gradient that is not all zeros."""
    return {
        name: parameter.grad is not None and bool(parameter.grad.any())
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


# What is compared ---------------------------------------------------------------------------------


def compared(supervise: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The loss, and prediction and target of all tokens."""
    model, pixels, shared = distiller(supervise=supervise), images(), masking()
    loss = model.losses(pixels, shared)['loss_decoder']
    own = model.student.encode(pixels, shared)
    predicted = model.decoderfeature_pred(model.student.decode(own.latent, shared))
    target = normalised_target(model.ask_teacher(pixels, shared)[1])
    assert predicted.shape == target.shape == (2, 1 + PATCHES, 20)
    return loss, predicted, target


def test_all_tokens_are_compared_by_default():
    loss, predicted, target = compared('all')
    assert torch.equal(loss, smooth_l1_feature_loss(predicted, target, 2.0))


def test_patches_are_compared_without_the_class_token():
    loss, predicted, target = compared('patches')
    assert torch.equal(loss, smooth_l1_feature_loss(predicted[:, 1:], target[:, 1:], 2.0))


def test_masked_patches_alone_are_compared():
    loss, predicted, target = compared('masked')
    hidden = masking().mask.bool()
    assert hidden.sum() == 2 * 12
    expected = smooth_l1_feature_loss(predicted[:, 1:][hidden], target[:, 1:][hidden], 2.0)
    assert torch.equal(loss, expected)


def test_an_unknown_supervision_is_refused():
    with pytest.raises(ValueError, match=words("supervise='cls' is none of all, masked, patches")):
        distiller(supervise='cls')


def test_the_target_is_the_raw_output_of_the_target_block():
    """No decoder norm, and blocks after it do not run."""
    model, pixels, shared = distiller(target_block=2), images(), masking()
    teacher = model.teacher.model
    encoded, target = model.ask_teacher(pixels, shared)
    assert len(teacher.decoder_blocks) == 2
    assert torch.equal(target, teacher.decode(encoded.latent, shared, 2))
    assert not hasattr(teacher, 'decoder_norm')
    assert not target.requires_grad


@pytest.mark.parametrize('target_block', [1, 2, 3])
def test_every_decoder_block_can_be_the_target(target_block):
    assert distiller(target_block=target_block)(images(), mode='loss')['loss_decoder'] > 0


@pytest.mark.parametrize('target_block', [-1, 0, 4])
def test_other_blocks_are_refused(target_block):
    with pytest.raises(ValueError, match=rf'target_block={target_block} is not in 1\.\.3'):
        distiller(target_block=target_block)


def test_the_student_runs_all_of_its_blocks():
    model = distiller(target_block=1)
    ran = []
    for i, block in enumerate(model.student.decoder_blocks):
        block.register_forward_hook(lambda *_, i=i: ran.append(i))
    model(images(), mode='loss')
    assert ran == [0, 1]


# Masking ------------------------------------------------------------------------------------------


def test_both_networks_see_the_same_patches(monkeypatch):
    seen = []
    encode = MaskedAutoencoder.encode

    def spy(self, pixels, shared):
        seen.append((pixels, shared))
        return encode(self, pixels, shared)

    monkeypatch.setattr(MaskedAutoencoder, 'encode', spy)
    distiller()(images(), mode='loss')
    (pixels, first), (pixels_, second) = seen
    assert torch.equal(pixels, pixels_)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_masking_follows_the_samples_seeds():
    model = distiller()
    samples = [BaseDataElement(metainfo={'sample_seed': seed}) for seed in (3, 4)]
    loss = model(images(), samples, mode='loss')['loss_decoder']
    torch.manual_seed(123)
    assert torch.equal(model(images(), samples, mode='loss')['loss_decoder'], loss)
    swapped = model(images(), samples[::-1], mode='loss')['loss_decoder']
    assert not torch.equal(swapped, loss)


def test_the_mask_ratio_is_used():
    model = distiller(mask_ratio=0.5)
    kept = []
    model.student.norm.register_forward_hook(lambda *args: kept.append(args[-1].shape[1]))
    model(images(), mode='loss')
    assert kept == [1 + PATCHES // 2]


# What is built and computed -----------------------------------------------------------------------


@pytest.mark.parametrize(
    'options',
    [{}, {'encoder_weight': 1.0}, {'relation_weight': 1.0}, {'supervise': 'masked'}],
    ids=str,
)
def test_every_trainable_parameter_gets_a_gradient(options):
    model = distiller(**options)
    sum(model(images(), mode='loss').values()).backward()
    assert [name for name, has in gradients(model).items() if not has] == []


def test_at_weight_zero_nothing_of_the_other_terms_is_built_or_computed(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError('computed')

    monkeypatch.setattr('g2sd_mm.distill.losses.relation.token_relation_loss', fail)
    model = distiller()
    attentions = [b.attn.qkv for m in (model.student, model.teacher.model) for b in m.blocks]
    assert not any(qkv._forward_hooks for qkv in attentions)
    assert not any('encoderfeature_pred' in name for name in model.state_dict())
    calls = []
    monkeypatch.setattr(
        generic, 'smooth_l1_feature_loss', lambda *args: calls.append(args) or args[0].sum()
    )
    assert set(model(images(), mode='loss')) == {'loss_decoder', 'explained_variance'}
    assert len(calls) == 1


def test_the_encoder_term_compares_with_the_teachers_prenorm():
    model, pixels, shared = distiller(encoder_weight=0.5), images(), masking()
    torch.nn.init.normal_(model.teacher.model.norm.weight)  # so that the norm changes something
    loss = model.losses(pixels, shared)['loss_encoder']
    own = model.encoderfeature_pred(model.student.encode(pixels, shared).latent)
    target = normalised_target(model.ask_teacher(pixels, shared)[0].prenorm)
    assert own.shape == target.shape == (2, 1 + PATCHES // 4, 24)
    assert loss.item() == pytest.approx(0.5 * smooth_l1_feature_loss(own, target).item())


def test_the_relation_term_compares_every_layer_of_the_encoders():
    model, pixels, shared = distiller(relation_weight=0.5, relation_heads=2), images(), masking()
    loss = model.losses(pixels, shared)['loss_relation']

    def qkv(network) -> list[torch.Tensor]:
        heard = []
        handles = [
            block.attn.qkv.register_forward_hook(lambda *args: heard.append(args[-1]))
            for block in network.blocks
        ]
        network.encode(pixels, shared)
        for handle in handles:
            handle.remove()
        return heard

    expected = model.relation(student=qkv(model.student), teacher=qkv(model.teacher.model))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert model.relation.loss_weight == 0.5
    assert model.relation.heads == 2


def test_extra_terms_do_not_change_the_main_one():
    plain = distiller()(images(), mode='loss')['loss_decoder']
    model = distiller()
    extended = distiller(encoder_weight=1.0, relation_weight=1.0)
    extended.load_state_dict(model.state_dict(), strict=False)
    for side in ('student', 'teacher'):
        source = getattr(model, side)
        target = getattr(extended, side)
        if side == 'teacher':
            source, target = source.model, target.model
        target.load_state_dict(source.state_dict())
    shared = masking()
    losses = [m.losses(images(), shared)['loss_decoder'] for m in (model, extended)]
    assert torch.equal(*losses)
    assert plain > 0


def test_a_teacher_in_bfloat16_teaches_a_float32_student():
    exact = distiller()
    coarse = distiller(teacher=dict(random_weights=True, dtype='bfloat16'))
    shared = masking()
    losses = [m.losses(images(), shared)['loss_decoder'] for m in (exact, coarse)]
    assert losses[1].dtype == torch.float32
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=0.05)
    assert losses[0] != losses[1]


def test_under_autocast_the_target_keeps_the_teachers_precision(monkeypatch):
    seen = []

    def compare(student, teacher, beta):
        seen.append(teacher)
        return smooth_l1_feature_loss(student, teacher, beta)

    monkeypatch.setattr(generic, 'smooth_l1_feature_loss', compare)
    model, shared = distiller(), masking()
    model.losses(images(), shared)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = model.losses(images(), shared)['loss_decoder']
    assert torch.equal(*seen)
    assert loss.dtype == torch.float32


def test_student_and_teacher_must_cut_the_same_patches():
    with pytest.raises(ValueError, match=words('the same patches: 64 against 16')):
        distiller(student=dict(STUDENT, img_size=64))


# What comes out -----------------------------------------------------------------------------------


def test_deployed_is_the_encoder_under_its_published_names():
    model = distiller()
    expected = {'cls_token', 'pos_embed', 'patch_embed.proj.weight', 'patch_embed.proj.bias',
                'norm.weight', 'norm.bias'}
    expected |= {name for name in model.student.state_dict() if name.startswith('blocks.')}
    state = model.deployable_state()
    assert set(state) == expected
    assert len(state) == 6 + 12 * STUDENT['arch']['depth']
    assert torch.equal(state['norm.bias'], model.student.norm.bias)


def test_a_checkpoint_has_the_student_and_its_predictor_only():
    parts = {name.split('.')[0] for name in distiller().state_dict()}
    assert parts == {'student', 'decoderfeature_pred'}


def test_training_lowers_the_loss():
    model, pixels, shared = distiller(), images(8), masking(8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    history = []
    for _ in range(60):
        loss = model.losses(pixels, shared)['loss_decoder']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.6 * history[0]


def test_initialisation_leaves_the_teacher_alone():
    model = distiller()
    before, weight = model.teacher.checksum(), model.decoderfeature_pred.fc1.weight.clone()
    model.init_weights()
    assert model.teacher.checksum() == before
    assert not torch.equal(model.decoderfeature_pred.fc1.weight, weight)
    assert not model.decoderfeature_pred.fc2.bias.any()


def test_predictors_are_as_wide_as_the_teacher():
    model = distiller(encoder_weight=1.0, teacher=dict(TEACHER, arch=arch(32, 3),
                                                       random_weights=True))
    assert model.decoderfeature_pred.fc1.weight.shape == (20, 12)
    assert model.decoderfeature_pred.fc2.weight.shape == (20, 20)
    assert model.encoderfeature_pred.fc1.weight.shape == (32, 16)


# A share of the hidden patches --------------------------------------------------------------------


@pytest.mark.parametrize(('supervise', 'tokens'), [('all', 11), ('patches', 10), ('masked', 6)])
def test_a_share_of_the_hidden_patches_is_decoded_and_compared(supervise, tokens):
    model, pixels, shared = distiller(supervise=supervise, decode_share=0.5), images(), masking()
    _, target = model.ask_teacher(pixels, shared)
    assert target.shape == (2, 1 + 4 + 6, 20)
    own = model.student.encode(pixels, shared)
    predicted = model.decoderfeature_pred(model._decode(model.student, own.latent, shared))
    looked_at = [model.supervised(side, shared) for side in (predicted, normalised_target(target))]
    assert looked_at[0].shape == looked_at[1].shape == (2, tokens, 20)
    loss = model.losses(pixels, shared)['loss_decoder']
    assert torch.equal(loss, smooth_l1_feature_loss(*looked_at, 2.0))


def test_with_a_share_everything_is_trained():
    model = distiller(decode_share=0.25)
    model.losses(images(), masking())['loss_decoder'].backward()
    assert all(gradients(model).values())


@pytest.mark.parametrize('share', [0.0, 1.5])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match=words(f'decode_share={share}', 'at most 1')):
        distiller(decode_share=share)
