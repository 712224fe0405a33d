"""A teacher that sees the patches its student attends to."""

from __future__ import annotations

import pytest
import torch

from g2sd_mm.distill.attended import class_attention, most_attended
from g2sd_mm.errors import ConfigError, UserError
from g2sd_mm.models import TimmBackbone

from ..helpers.toys import PATCHES, arch, classifier_cfg, images, labelled, words
from .test_specific import LABELS, LOSSES, TAPS, losses_of, specific


def test_attention_of_the_class_token_is_that_of_a_written_out_layer():
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 2, 3, 5, 4, generator=generator, dtype=torch.float64)  # [B, H, N, d]
    expected = ((q @ k.transpose(-2, -1)) / 4**0.5).softmax(-1).mean(1)[:, 0, 1:]
    assert torch.allclose(class_attention(q, k).double(), expected, atol=1e-6)


def test_the_most_attended_are_kept_in_raster_order():
    attention = torch.tensor([[0.1, 0.4, 0.2, 0.3], [0.9, 0.0, 0.05, 0.05]])
    assert most_attended(attention, 0.5).tolist() == [[1, 3], [0, 2]]
    assert most_attended(attention, 0.01).tolist() == [[1], [0]]


def test_any_familys_attention_decides():
    student = classifier_cfg()
    sizes = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
    student['backbone'] = dict(
        type='VisionTransformer', arch=sizes, img_size=32, patch_size=8, out_type='cls_token'
    )
    model = specific(
        student=student,
        teacher_patches=dict(share=0.25, module='backbone.layers.-1.attn'),
        taps=dict(logits=dict(student='head.fc', teacher='head.fc')),
    )
    heard, shown = [], []
    model.student.backbone.layers[-1].attn.qkv.register_forward_hook(
        lambda *call: heard.append(call[2])
    )
    teacher = model.teacher.model.backbone
    embed = teacher.embed
    teacher.embed = lambda x, keep: (shown.append(keep), embed(x, keep))[1]
    losses_of(model)
    q, k, _ = heard[0].unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
    assert torch.equal(shown[0], most_attended(class_attention(q, k), 0.25))


def test_with_all_patches_nothing_changes():
    plain, guided = specific(), specific(teacher_patches=dict(share=1.0))
    for name, value in losses_of(plain).items():
        assert torch.allclose(value, losses_of(guided)[name], rtol=1e-5), name


def test_the_teacher_sees_what_its_student_attends_to():
    model, pixels = specific(teacher_patches=dict(share=0.25)), images(4)
    student, teacher = model.student.backbone, model.teacher.model.backbone
    heard, shown = [], []
    student.blocks[-1].attn.qkv.register_forward_hook(lambda *call: heard.append(call[2]))
    embed = teacher.embed
    teacher.embed = lambda x, keep: (shown.append(keep), embed(x, keep))[1]
    losses = model(pixels, labelled(LABELS), mode='loss')
    # behind the patches of the student comes its distillation token, which is no patch
    q, k, _ = heard[0].unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
    attention = class_attention(q, k)[:, :PATCHES]
    assert torch.equal(shown[0], most_attended(attention, 0.25))
    assert shown[0].shape == (4, PATCHES // 4)
    sum(losses.values()).backward()
    assert all(p.grad is None for p in teacher.parameters())
    # what is left out changes nothing: grey there, and the same answer
    hidden = torch.ones(4, PATCHES).scatter(1, shown[0], 0).bool().reshape(4, 4, 4)
    grey = pixels.clone()
    grey[hidden.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None].expand_as(grey)] = 0
    answers = [teacher(x, keep=shown[0])[0] for x in (pixels, grey)]
    assert torch.allclose(*answers, atol=1e-5)


def test_losses_on_tokens_compare_the_shown_patches_alone():
    options = dict(
        taps=dict(TAPS, tokens='backbone.blocks.-1'),
        adapters=dict(tokens=dict(type='TokenAdapter', in_channels=16, out_channels=24)),
        losses=dict(LOSSES, loss_tokens=dict(type='SmoothL1FeatureLoss', tap='tokens')),
    )
    model = specific(teacher_patches=dict(share=0.25), **options)
    given = []
    model.distillation.losses['loss_tokens'].register_forward_pre_hook(
        lambda _, args, kwargs: given.append(kwargs), with_kwargs=True
    )
    heard, shown = [], []
    model.student.backbone.blocks[-1].register_forward_hook(lambda *call: heard.append(call[2]))
    teacher = model.teacher.model.backbone
    embed = teacher.embed
    teacher.embed = lambda x, keep: (shown.append(keep), embed(x, keep))[1]
    losses = model(images(4), labelled(LABELS), mode='loss')
    student = given[0]['student']
    assert student.shape == given[0]['teacher'].shape == (4, 1 + PATCHES // 4, 24)
    adapted = model.distillation.adapters['tokens'](heard[0])
    for image, numbers in enumerate(shown[0]):
        kept = adapted[image, [0, *(1 + numbers).tolist()]]
        assert torch.allclose(student[image], kept, atol=1e-6)
    sum(losses.values()).backward()
    assert model.student.backbone.blocks[0].attn.qkv.weight.grad.abs().sum() > 0


@pytest.mark.parametrize('share', [0.0, 1.5])
def test_a_share_that_there_cannot_be_is_refused(share):
    with pytest.raises(UserError, match=f'teacher_patches.share={share}'):
        specific(teacher_patches=dict(share=share))


def test_a_teacher_that_cannot_leave_patches_out_is_refused(monkeypatch):
    monkeypatch.setattr('g2sd_mm.distill.attended.G2SDViT', TimmBackbone)
    with pytest.raises(ConfigError, match=r'distillation\.teacher_patches'):
        specific(teacher_patches={})


def test_a_teacher_of_another_grid_is_refused():
    """Numbers of the student's patches would be those of other places of its image."""
    student = classifier_cfg('dist_token', arch=dict(arch(16), patch_size=16))
    with pytest.raises(ConfigError, match=words('teacher_patches', '16', '8')):
        specific(student=student, teacher_patches=dict(share=0.5))


def test_the_student_and_nothing_else_is_saved():
    model = specific(teacher_patches={})
    assert model.state_dict().keys() == specific().state_dict().keys()
