"""The published networks at full size, on weights that anyone can compute."""

from __future__ import annotations

import pytest
import torch

from g2sd_mm.checkpoints.convert import published_name
from g2sd_mm.distill.losses.standardisation import normalised_target
from g2sd_mm.models.masking import random_masking

from .helpers.full_size import check_summary, fill, noise, samples
from .helpers.toys import classifier, distiller

LOSS_ATOL = 1e-5
POSITIONS = ('pos_embed', 'decoder_pos_embed')


def image() -> torch.Tensor:
    return 4 * noise('image', (2, 3, 224, 224))


def bare(name: str) -> str:
    """Published name of a distiller's parameter: the student's have no prefix."""
    return published_name(name).removeprefix('student.')


@pytest.mark.slow
def test_generic_distillation_of_the_base_teacher_to_the_tiny_student():
    expected = samples('gd')
    model = distiller(
        arch='tiny', decoder='dec128d4b', img_size=224, encoder=1.0, tokens='masked',
        teacher=dict(
            arch='base', decoder='dec512d8b', img_size=224, until='decoder_blocks.3',
            random_weights=True,
        ),
    )  # fmt: skip
    fill(model.teacher.model, bare, keep=POSITIONS)
    fill(model, bare, keep=[f'student.{name}' for name in POSITIONS])
    masking = random_masking(noise('noise', (2, 196)) + 0.5, 0.75)
    assert masking.keep[:, :8].tolist() == expected['kept_first8']
    assert masking.mask.sum(1).tolist() == expected['mask_sum']
    assert masking.mask[0, :16].tolist() == expected['mask_first16']

    with torch.no_grad():
        target = model.distillation.ask_teacher(image(), view=masking)['tokens']
        own = model.student.encode(image(), masking)
        predictor = model.distillation.adapters['tokens']
        predicted = predictor(model.student.decode(own.latent, masking))
        check_summary(target, expected['teacher_raw'], 'target')
        check_summary(normalised_target(target), expected['teacher_target'], 'normalised target')
        check_summary(own.prenorm, expected['student_encoder_prenorm'], 'student encoder')
        check_summary(predicted, expected['student_pred'], 'prediction')
        for supervise, name in (
            ('all', 'loss_all'), ('masked', 'loss_masked'), ('patches', 'loss_patches_no_cls')
        ):
            model.distillation.losses['loss_tokens'].tokens = supervise
            losses = model.losses(image(), view=masking)
            loss = losses['loss_tokens'].item()
            assert loss == pytest.approx(expected[name], abs=LOSS_ATOL), supervise
    assert losses['loss_encoder'].item() == pytest.approx(
        expected['loss_enc_unused'], abs=LOSS_ATOL
    )


def full_classifier(out_type: str) -> torch.nn.Module:
    model = classifier(
        out_type, dim=192, classes=1000, arch='tiny', patch_size=None, img_size=224
    ).eval()

    def official(name: str) -> str:
        for ours in ('backbone.', 'head.layers.'):
            name = name.removeprefix(ours)
        return name.replace('head.fc.', 'head.')

    fill(model, official)
    return model


def test_both_heads_of_the_tiny_distilled_classifier():
    expected = samples('sd_cls')
    model = full_classifier('dist_token')
    with torch.no_grad():
        ((cls, dist),) = model.backbone(image())
        head, head_dist = model.head.layers.head(cls), model.head.layers.head_dist(dist)
        check_summary(head, expected['head'], 'class head')
        check_summary(head_dist, expected['head_dist'], 'dist head')
        check_summary(model(image()), expected['eval'], 'both heads')
    assert expected['eval_is_mean']


def test_the_tiny_classifier_with_averaged_patches():
    model = full_classifier('avg_featmap')
    with torch.no_grad():
        check_summary(model(image()), samples('sd_cls')['ft_global_pool'], 'logits')
