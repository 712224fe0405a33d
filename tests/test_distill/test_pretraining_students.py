"""Students that baselines pre-train: with a loss of pixels, and seeing an image twice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.distill import MaskedStudent, SpecificDistiller, TwiceSeeingStudent
from g2sd_mm.distill.teachers.mae import MAETeacher
from g2sd_mm.models.mae import patchify
from g2sd_mm.models.masking import random_masking

from ..helpers.toys import (
    IMAGE,
    PATCH,
    PATCHES,
    STUDENT,
    TEACHER,
    arch,
    autoencoder,
    images,
    labelled,
    refused,
    save,
    words,
)


def seeded(number: int) -> list:
    samples = labelled([0] * number)
    for i, sample in enumerate(samples):
        sample.set_metainfo({'sample_seed': 100 + i})
    return samples


# Pixels -------------------------------------------------------------------------------------------


@pytest.mark.parametrize('norm', [False, True])
def test_pixels_are_the_loss_of_mae(norm):
    student = MaskedStudent(**STUDENT, pixels=True, norm_pix=norm)
    student.init_weights()
    pixels, samples = images(), seeded(2)
    view = student.draw_view(pixels, samples)
    found = student(pixels, samples, mode='loss', view=view)
    predicted = student.predict_pixels(student(pixels, view=view)).detach().numpy()
    target = patchify(pixels, PATCH).numpy()
    if norm:
        target = (target - target.mean(-1, keepdims=True)) / np.sqrt(
            target.var(-1, ddof=1, keepdims=True) + 1e-6
        )
    errors = ((predicted - target) ** 2).mean(-1)[view.mask.bool().numpy()]
    assert set(found) == {'loss_pixels'}
    assert found['loss_pixels'].item() == pytest.approx(errors.mean(), rel=1e-5)


def test_what_draws_pixels_is_not_deployed():
    plain, student = (MaskedStudent(**STUDENT, pixels=pixels) for pixels in (False, True))
    assert plain.deployable_state().keys() == student.deployable_state().keys()
    assert plain(images(), mode='loss') == {}


@pytest.mark.parametrize(
    'changes', [dict(decoder=None, mask_ratio=0), dict(mask_ratio=0), dict(decode_share=0.5)]
)
def test_pixels_need_a_decoder_of_hidden_patches(changes):
    with refused('model.pixels=True needs a decoder'):
        MaskedStudent(**{**STUDENT, **changes}, pixels=True)


# A part of the teacher's encoder ------------------------------------------------------------------


def test_a_teacher_ends_at_a_block_of_its_encoder(tmp_path):
    whole = autoencoder(TEACHER, seed=3)
    file = save(tmp_path / 'mae.pth', whole)
    teacher = MAETeacher(until='blocks.1', checkpoint=file, **TEACHER)
    assert len(teacher.model.blocks) == 2 and not hasattr(teacher.model, 'decoder_blocks')
    assert teacher.width == 24
    view = random_masking(torch.rand(2, PATCHES), 0.75)
    answer = teacher(images(), view)
    whole.blocks = whole.blocks[:2]
    expected = whole.encode(images(), view).prenorm
    assert torch.equal(answer.cls, expected[:, 0]) and torch.equal(answer.patches, expected[:, 1:])
    with refused("until='blocks.3'", 'blocks.0 .. blocks.2'):
        MAETeacher(until='blocks.3', checkpoint=file, **TEACHER)


def test_a_token_that_the_others_see_is_not_left_out_of_a_teacher(tmp_path):
    state = autoencoder(TEACHER, seed=3).state_dict()
    file = save(tmp_path / 'two.pth', {**state, 'dist_token': torch.zeros(1, 1, 24)})
    with pytest.raises(CheckpointError, match=words('dist_token', 'EncoderTeacher')):
        MAETeacher(until='blocks.1', checkpoint=file, **TEACHER)


def test_its_visible_tokens_are_beside_the_students():
    cfg = dict(
        student=dict(type='MaskedStudent', **STUDENT, pixels=True),
        teacher=dict(type='MAETeacher', **TEACHER, until='blocks.1', random_weights=True),
        taps=dict(encoder='blocks.1'),
        adapters=dict(encoder=dict(type='TokenAdapter', in_channels=16, out_channels=24)),
        losses=dict(loss_encoder=dict(type='UnitL1FeatureLoss', tap='encoder')),
    )
    model = SpecificDistiller(**cfg)
    model.init_weights()
    found = model(images(), seeded(2), mode='loss')
    assert {'loss_pixels', 'loss_encoder', 'explained_variance'} == set(found)
    sum(v for k, v in found.items() if 'loss' in k).backward()
    assert model.distillation.adapters['encoder'].weight.grad.any()


# Twice --------------------------------------------------------------------------------------------


def twice(**changes) -> TwiceSeeingStudent:
    torch.manual_seed(0)
    model = TwiceSeeingStudent(**{**dict(arch=arch(16, 2), img_size=IMAGE), **changes})
    model.init_weights()
    return model


def heard(model, pixels, samples):
    found = {}
    hooks = [
        getattr(model, name).register_forward_hook(
            lambda _, __, output, name=name: found.update({name: output})
        )
        for name in ('whole', 'again')
    ]  # fmt: skip
    view = model.draw_view(pixels, samples)
    assert model(pixels, samples, mode='loss', view=view) == {}
    for hook in hooks:
        hook.remove()
    return found, view


def test_the_second_pass_replaces_patches_of_some_images():
    model, pixels, samples = twice(), images(5), seeded(5)
    found, view = heard(model, pixels, samples)
    assert view.mask.sum(1).tolist() == [8, 8, 0, 0, 0]  # round(2.5) images, half of 16 patches
    # the first pass is the plain encoder
    everything = random_masking(torch.arange(PATCHES).expand(5, -1), 0.0)
    plain = model.encode(pixels, everything).latent
    assert torch.allclose(found['whole'], plain, atol=1e-5)
    assert torch.equal(found['again'][2:], found['whole'][2:])
    assert not torch.allclose(found['again'][:2], found['whole'][:2], atol=1e-3)
    # what is hidden is not looked at
    other = pixels.clone()
    for i in range(2):
        for place in view.mask[i].nonzero().flatten().tolist():
            row, column = place // 4 * PATCH, place % 4 * PATCH
            other[i, :, row : row + PATCH, column : column + PATCH] = 7.0
    changed, _ = heard(model, other, samples)
    assert torch.allclose(changed['again'][:2], found['again'][:2], atol=1e-5)
    assert not torch.allclose(changed['whole'][:2], found['whole'][:2], atol=1e-3)


def test_what_is_replaced_follows_the_samples_seeds():
    model, pixels = twice(), images(4)
    masks = [model.draw_view(pixels, seeded(4)).mask for _ in range(2)]
    assert torch.equal(*masks)
    assert not torch.equal(masks[0], model.draw_view(pixels).mask)


def test_the_learnt_token_is_not_deployed():
    model = twice()
    plain = MaskedStudent(arch=arch(16, 2), decoder=None, mask_ratio=0, img_size=IMAGE)
    assert model.deployable_state().keys() == plain.deployable_state().keys()
    assert 'hidden_token' in model.state_dict()


@pytest.mark.parametrize('name', ['images', 'patches'])
def test_shares_are_between_none_and_all(name):
    with refused(f'model.{name}=1.0 is not between 0 and 1'):
        twice(**{name: 1.0})


def test_three_terms_are_those_of_proteus():
    """Against NumPy: class token, all tokens with that class token, hidden patches."""
    loss = dict(type='MSEFeatureLoss')
    head = dict(type='NormLinearAdapter', in_channels=16, out_channels=24)
    whole = 1 + PATCHES
    model = SpecificDistiller(
        student=dict(type='TwiceSeeingStudent', arch=arch(16, 2), img_size=IMAGE),
        teacher=dict(type='EncoderTeacher', arch=arch(24, 3), img_size=IMAGE, random_weights=True),
        taps=dict(cls=dict(student='whole'), all=dict(student='whole'),
                  hidden=dict(student='again')),
        adapters=dict(cls=head, all=head, hidden=head),
        losses=dict(
            loss_cls=dict(loss, tokens='cls', loss_weight=1 + 1 / whole,
                          inputs=dict(student='student.cls', teacher='teacher.tokens')),
            loss_patches=dict(loss, tokens='patches', loss_weight=PATCHES / whole,
                              inputs=dict(student='student.all', teacher='teacher.tokens')),
            loss_hidden=dict(loss, tokens='masked',
                             inputs=dict(student='student.hidden', teacher='teacher.tokens'))),
    )  # fmt: skip
    model.init_weights()
    pixels, samples = images(4), seeded(4)
    found = model(pixels, samples, mode='loss')
    total = sum(v.item() for k, v in found.items() if k.startswith('loss_'))

    parts, view = heard(model.student, pixels, samples)
    one, two, three = (model.distillation.adapters[name] for name in ('cls', 'all', 'hidden'))
    cls, patches = one(parts['whole'])[:, :1], two(parts['whole'])[:, 1:]
    hidden = three(parts['again'])[:, 1:][view.mask.bool()]
    target = model.teacher(pixels).tokens
    squares = [
        ((own.detach().numpy() - theirs.numpy()) ** 2).mean()
        for own, theirs in (
            (cls, target[:, :1]), (torch.cat([cls, patches], dim=1), target),
            (hidden, target[:, 1:][view.mask.bool()]),
        )
    ]  # fmt: skip
    assert hidden.shape == (16, 24)
    assert total == pytest.approx(sum(squares), rel=1e-5)
