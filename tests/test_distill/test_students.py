"""Stage 1: a small autoencoder learns a large one's hidden features."""

from __future__ import annotations

import pytest
import torch
from mmengine.structures import BaseDataElement

from g2sd_mm.distill import Features, FrozenTeacher, SpecificDistiller
from g2sd_mm.distill.losses import feature
from g2sd_mm.distill.losses.alignment import select_tokens
from g2sd_mm.distill.losses.feature import smooth_l1_feature_loss
from g2sd_mm.distill.losses.standardisation import normalised_target
from g2sd_mm.models.mae import MaskedAutoencoder
from g2sd_mm.models.masking import Masking, random_masking, some_hidden

from ..helpers.toys import (
    PATCHES,
    STUDENT,
    TEACHER,
    arch,
    distiller,
    images,
    refused,
    stage1_cfg,
    words,
)


def masking(number: int = 2) -> Masking:
    noise = torch.rand(number, PATCHES, generator=torch.Generator().manual_seed(1))
    return random_masking(noise, 0.75)


def predictor(model, tap: str = 'tokens') -> torch.nn.Module:
    return model.distillation.adapters[tap]


def target_of(model, pixels, view, tap: str = 'tokens') -> torch.Tensor:
    """The teacher's record, raw."""
    return model.distillation.ask_teacher(pixels, view=view)[tap]


def gradients(model: torch.nn.Module) -> dict[str, bool]:
    """Trainable parameter -> has a gradient that is not all zeros."""
    return {
        name: parameter.grad is not None and bool(parameter.grad.any())
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


# What is compared ---------------------------------------------------------------------------------


def compared(tokens: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The loss, and prediction and target of all tokens."""
    model, pixels, view = distiller(tokens=tokens), images(), masking()
    loss = model.losses(pixels, view=view)['loss_tokens']
    own = model.student.encode(pixels, view)
    predicted = predictor(model)(model.student.decode(own.latent, view))
    target = normalised_target(target_of(model, pixels, view))
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


def test_unknown_tokens_are_refused():
    message = words("tokens='class' is none of all, masked, patches, cls")
    with pytest.raises(ValueError, match=message):
        distiller(tokens='class')


def test_the_target_is_the_raw_output_of_the_last_block_that_is_run():
    """No decoder norm, and blocks after it do not run."""
    model, pixels, view = distiller(), images(), masking()
    teacher = model.teacher.model
    target = target_of(model, pixels, view)
    assert len(teacher.decoder_blocks) == 2
    assert torch.equal(target, teacher.decode(teacher.encode(pixels, view).latent, view, 2))
    assert not hasattr(teacher, 'decoder_norm')
    assert not target.requires_grad


@pytest.mark.parametrize('block', [0, 1, 2])
def test_every_decoder_block_can_be_the_target(block):
    model = distiller(teacher=dict(random_weights=True, until=f'decoder_blocks.{block}'))
    assert model(images(), mode='loss')['loss_tokens'] > 0


def test_the_student_runs_all_of_its_blocks():
    model = distiller(teacher=dict(random_weights=True, until='decoder_blocks.0'))
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
    assert first is second


def test_masking_follows_the_samples_seeds():
    model = distiller()
    samples = [BaseDataElement(metainfo={'sample_seed': seed}) for seed in (3, 4)]
    loss = model(images(), samples, mode='loss')['loss_tokens']
    torch.manual_seed(123)
    assert torch.equal(model(images(), samples, mode='loss')['loss_tokens'], loss)
    swapped = model(images(), samples[::-1], mode='loss')['loss_tokens']
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
    [{}, {'encoder': 1.0}, {'relation': 1.0}, {'tokens': 'masked'}],
    ids=str,
)
def test_every_trainable_parameter_gets_a_gradient(options):
    model = distiller(**options)
    sum(model(images(), mode='loss').values()).backward()
    assert [name for name, has in gradients(model).items() if not has] == []


def test_what_no_tap_names_is_not_listened_to_or_built():
    model = distiller()
    heard = [
        name
        for network in (model.student, model.teacher.model)
        for name, module in network.named_modules()
        if module._forward_hooks
    ]
    assert heard == ['decoder_blocks.1', 'decoder_blocks.1']
    assert set(model.distillation.adapters) == {'tokens'}
    assert set(model(images(), mode='loss')) == {'loss_tokens', 'explained_variance'}


def test_the_encoder_term_compares_with_the_teachers_prenorm():
    model, pixels, view = distiller(encoder=0.5), images(), masking()
    torch.nn.init.normal_(model.teacher.model.norm.weight)  # so that the norm changes something
    loss = model.losses(pixels, view=view)['loss_encoder']
    own = predictor(model, 'encoder')(model.student.encode(pixels, view).latent)
    prenorm = model.teacher.model.encode(pixels, view).prenorm
    assert own.shape == prenorm.shape == (2, 1 + PATCHES // 4, 24)
    expected = 0.5 * smooth_l1_feature_loss(own, normalised_target(prenorm))
    assert loss.item() == pytest.approx(expected.item())


def test_the_relation_term_compares_every_layer_of_the_encoders():
    model, pixels, view = distiller(relation=0.5, heads=2), images(), masking()
    loss = model.losses(pixels, view=view)['loss_relation']

    def qkv(network) -> list[torch.Tensor]:
        heard = []
        handles = [
            block.attn.qkv.register_forward_hook(lambda *args: heard.append(args[-1]))
            for block in network.blocks
        ]
        network.encode(pixels, view)
        for handle in handles:
            handle.remove()
        return heard

    relation = model.distillation.losses['loss_relation']
    expected = relation(student=qkv(model.student), teacher=qkv(model.teacher.model))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert (relation.loss_weight, relation.heads) == (0.5, 2)


def test_extra_terms_do_not_change_the_main_one():
    plain = distiller()(images(), mode='loss')['loss_tokens']
    model = distiller()
    extended = distiller(encoder=1.0, relation=1.0)
    extended.load_state_dict(model.state_dict(), strict=False)
    for side in ('student', 'teacher'):
        source = getattr(model, side)
        target = getattr(extended, side)
        if side == 'teacher':
            source, target = source.model, target.model
        target.load_state_dict(source.state_dict())
    shared = masking()
    losses = [m.losses(images(), view=shared)['loss_tokens'] for m in (model, extended)]
    assert torch.equal(*losses)
    assert plain > 0


def test_a_teacher_in_bfloat16_teaches_a_float32_student():
    exact = distiller()
    coarse = distiller(teacher=dict(random_weights=True, dtype='bfloat16'))
    shared = masking()
    losses = [m.losses(images(), view=shared)['loss_tokens'] for m in (exact, coarse)]
    assert losses[1].dtype == torch.float32
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=0.05)
    assert losses[0] != losses[1]


def test_under_autocast_the_target_keeps_the_teachers_precision(monkeypatch):
    seen = []

    def compare(student, teacher, beta):
        seen.append(teacher)
        return smooth_l1_feature_loss(student, teacher, beta)

    monkeypatch.setattr(feature, 'smooth_l1_feature_loss', compare)
    model, shared = distiller(), masking()
    model.losses(images(), view=shared)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = model.losses(images(), view=shared)['loss_tokens']
    assert torch.equal(*seen)
    assert loss.dtype == torch.float32


def test_student_and_teacher_must_cut_the_same_patches():
    with pytest.raises(ValueError, match=words('the same patches: 64 of MaskedStudent against 16')):
        distiller(img_size=64)


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
    assert parts == {'student', 'distillation'}


def test_training_lowers_the_loss():
    model, pixels, shared = distiller(), images(8), masking(8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    history = []
    for _ in range(60):
        loss = model.losses(pixels, view=shared)['loss_tokens']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.6 * history[0]


def test_initialisation_leaves_the_teacher_alone():
    cfg = stage1_cfg()
    model = SpecificDistiller(student=cfg['model'], **cfg['distillation'])
    before, weight = model.teacher.checksum(), predictor(model).fc1.weight.clone()
    assert predictor(model).fc2.bias.any()
    model.init_weights()
    assert model.teacher.checksum() == before
    assert not torch.equal(predictor(model).fc1.weight, weight)
    assert not predictor(model).fc2.bias.any()


def test_predictors_are_as_wide_as_the_teacher():
    teacher = dict(TEACHER, arch=arch(32, 3), random_weights=True)
    model = distiller(encoder=1.0, teacher=teacher)
    assert predictor(model).fc1.weight.shape == (20, 12)
    assert predictor(model).fc2.weight.shape == (20, 20)
    assert predictor(model, 'encoder').fc1.weight.shape == (32, 16)


# A share of the hidden patches --------------------------------------------------------------------


@pytest.mark.parametrize(('tokens', 'number'), [('all', 11), ('patches', 10), ('masked', 6)])
def test_a_share_of_the_hidden_patches_is_decoded_and_compared(tokens, number):
    model, pixels = distiller(tokens=tokens, decode_share=0.5), images()
    view = masking()._replace(hidden=some_hidden(masking(), 0.5))
    target = target_of(model, pixels, view)
    assert target.shape == (2, 1 + 4 + 6, 20)
    assert model.teacher(pixels, view).patches.shape == (2, 4 + 6, 20)
    own = model.student.encode(pixels, view)
    predicted = predictor(model)(model.student.decode(own.latent, view))
    looked_at = [select_tokens(t, tokens, view) for t in (predicted, normalised_target(target))]
    assert looked_at[0].shape == looked_at[1].shape == (2, number, 20)
    loss = model.losses(pixels, view=view)['loss_tokens']
    assert torch.equal(loss, smooth_l1_feature_loss(*looked_at, 2.0))


def test_what_a_share_leaves_out_changes_nothing():
    """The view that is drawn names the patches: hidden ones it does not name are not computed."""
    model, pixels = distiller(decode_share=0.5), images()
    samples = [BaseDataElement(metainfo={'sample_seed': seed}) for seed in (3, 4)]
    view = model.student.draw_view(pixels, samples)
    left_out = view.mask.bool().scatter(1, view.hidden, False)
    assert left_out.sum(dim=1).tolist() == [6, 6]
    positions = model.student.decoder_pos_embed
    loss = model(pixels, samples, mode='loss')['loss_tokens']
    positions.data[:, 1:][:, left_out.all(dim=0)] += 1
    assert left_out.all(dim=0).any()
    assert torch.equal(model(pixels, samples, mode='loss')['loss_tokens'], loss)


def test_with_a_share_everything_is_trained():
    model = distiller(decode_share=0.25)
    model(images(), mode='loss')['loss_tokens'].backward()
    assert all(gradients(model).values())


@pytest.mark.parametrize('share', [0.0, 1.5])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match=words(f'decode_share={share}', 'at most 1')):
        distiller(decode_share=share)


# A student alone ----------------------------------------------------------------------------------


def test_outside_of_training_it_answers_with_its_decoders_features():
    model, pixels = distiller(), images()
    view = masking()
    expected = model.student.decode(model.student.encode(pixels, view).latent, view)
    assert torch.equal(model.student(pixels, view=view), expected)
    assert model.student(pixels, view=view, mode='loss') == {}
    assert model(pixels).shape == expected.shape


def test_predictors_run_in_the_students_mixed_precision():
    """As published; other adapters and all losses are in float32."""
    model, kinds = distiller(), []
    predictor(model).fc1.register_forward_hook(lambda *args: kinds.append(args[-1].dtype))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        model(images(), mode='loss')
    assert kinds == [torch.bfloat16]


def test_a_predictor_of_another_width_names_the_option():
    model = distiller()
    model.distillation.adapters['tokens'] = distiller(encoder=1.0).distillation.adapters['encoder']
    with refused('distillation.adapters.tokens.in_channels=16', 'width 12', 'set it to 12'):
        model(images(), mode='loss')


# Another family of teachers -----------------------------------------------------------------------


class PixelTeacher(FrozenTeacher):
    """The image itself, patch by patch: sees what is hidden from the student."""

    def __init__(self, patch: int, dtype: str = 'float32') -> None:
        super().__init__(torch.nn.PixelUnshuffle(patch), dtype)

    def answer(self, images, view):
        return Features(None, self.model(images).movedim(1, -1))


class PatchLoss(torch.nn.Module):
    """Keeps what it is given."""

    def forward(self, student, teacher, view):
        self.given = student, teacher, view
        return (student[:, 1:] - teacher.flatten(1, 2)).abs().mean()


def test_a_teacher_that_sees_the_image_teaches_a_masked_student():
    """Its features are named in ``inputs``; it is built behind the student, as before."""
    cfg = stage1_cfg()
    inputs = dict(student='student.tokens', teacher='teacher.patches', view='batch.view')
    model = SpecificDistiller(
        student=cfg['model'],
        teacher=dict(type=PixelTeacher, patch=8, dtype='bfloat16'),
        taps=dict(tokens=dict(student='decoder_blocks.-1')),
        adapters=dict(tokens=dict(type='MlpAdapter', in_channels=12, out_channels=192)),
        losses=dict(loss_pixels=dict(type=PatchLoss, inputs=inputs)),
    )
    pixels = images()
    losses = model(pixels, mode='loss')
    assert set(losses) == {'loss_pixels'}
    losses['loss_pixels'].backward()
    assert all(gradients(model).values())
    student, teacher, view = model.distillation.losses['loss_pixels'].given
    assert student.shape == (2, 1 + PATCHES, 192) and view.keep.shape == (2, 4)
    assert teacher.shape == (2, 4, 4, 192) and teacher.dtype == torch.float32
    first = pixels[0, :, :8, :8].bfloat16().float().flatten()
    assert torch.equal(teacher[0, 0, 0], first)
