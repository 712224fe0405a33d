"""Reconstruction: a perfect student is the teacher, and the picture shows what is predicted."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config

from g2sd_mm.bench.analysis.reconstruction import (
    Pair,
    as_images,
    continued,
    load_pair,
    reconstruct,
    token_scale,
)
from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.distill.losses.standardisation import normalised_target
from g2sd_mm.errors import UserError
from g2sd_mm.models.mae import patchify, pixel_loss
from g2sd_mm.models.masking import counter_noise, random_masking

from ...helpers import toys

IMAGES = toys.images(4)


@pytest.fixture(scope='module')
def files(tmp_path_factory) -> dict[str, str]:
    """Teacher and stage-1 student as runs leave them."""
    folder = tmp_path_factory.mktemp('stage1')
    teacher = toys.save(folder / 'teacher.pth', toys.autoencoder())
    student = toys.distiller(teacher=dict(checkpoint=teacher), seed=3)
    with torch.no_grad():  # as initialised, a decoder adds next to nothing
        for parameter in student.distillation.adapters['tokens'].parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return {
        'teacher': teacher,
        'student': toys.save(folder / 'epoch_1.pth', student),
        'encoder': toys.save(folder / 'weights.pth', student.deployable_state()),
    }


def stage1(files: dict[str, str], **changes: object) -> Config:
    cfg = toys.stage1_cfg(teacher=dict(checkpoint=files['teacher']))
    cfg['distillation']['teacher'].update(changes)
    return Config(dict(**cfg, default_scope='mmpretrain'))


@pytest.fixture
def pair(files) -> Pair:
    return load_pair(stage1(files), files['student'])


class Oracle(torch.nn.Module):
    """A predictor that knows the target."""

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.pair = (pair.distiller,)  # not a part of this module

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        view = random_masking(counter_noise(torch.arange(len(IMAGES)), 16), 0.75)
        taught = self.pair[0].distillation.ask_teacher(IMAGES, view=view)
        return normalised_target(taught['tokens'])


def test_the_teacher_continued_is_the_teacher(pair):
    masking = random_masking(counter_noise(torch.arange(4), 16), 0.75)
    with torch.no_grad():
        _, features = pair.tokens(IMAGES, masking)
        whole = pair.teacher(IMAGES, masking)
        torch.testing.assert_close(continued(pair.teacher, features, 2), whole)
        # the mean of a token plays no part behind a LayerNorm
        torch.testing.assert_close(
            continued(pair.teacher, features + 5, 2), whole, atol=1e-4, rtol=1e-3
        )


def test_a_perfect_student_reconstructs_nearly_as_the_teacher(pair):
    """Nearly: of each token's size only the mean over tokens is known."""
    with torch.no_grad():  # features far from unit size, so that the scale matters
        for teacher in (pair.distiller.teacher.model, pair.teacher):
            teacher.decoder_blocks[1].mlp.fc2.weight.mul_(40)
    random = reconstruct(pair, IMAGES)
    pair.distiller.distillation.adapters['tokens'] = Oracle(pair)
    perfect = reconstruct(pair, IMAGES)
    gap = {
        name: (found['pictures']['student'] - found['pictures']['teacher']).abs().mean()
        for name, found in (('random', random), ('perfect', perfect))
    }
    assert gap['perfect'] < 0.2 * gap['random']
    assert perfect['losses']['student'] == pytest.approx(perfect['losses']['teacher'], rel=0.1)
    assert random['losses']['teacher'] == perfect['losses']['teacher']


def test_the_scale_is_one_number_for_each_kind_of_token():
    masking = random_masking(counter_noise(torch.arange(2), 16), 0.75)
    hidden = masking.mask.bool()
    spread = torch.ones(2, 17)
    spread[:, 0] = torch.tensor([2.0, 4.0])
    spread[:, 1:][hidden] = 5.0
    spread[:, 1:][~hidden] = 7.0
    features = torch.randn(2, 17, 400)
    features = features / features.std(-1, unbiased=False, keepdim=True) * spread.unsqueeze(-1)
    scale = token_scale(features, masking).squeeze(-1)
    torch.testing.assert_close(scale[:, 0], torch.tensor([3.0, 3.0]))
    torch.testing.assert_close(scale[:, 1:][hidden], torch.full((24,), 5.0))
    torch.testing.assert_close(scale[:, 1:][~hidden], torch.full((8,), 7.0))


def test_what_is_seen_is_shown_as_it_is(pair):
    found = reconstruct(pair, IMAGES)
    mask = random_masking(counter_noise(torch.arange(4), 16), 0.75).mask.bool()
    target = patchify(IMAGES, toys.PATCH)
    for name, picture in found['pictures'].items():
        assert picture.shape == IMAGES.shape
        shown = patchify(picture, toys.PATCH)
        assert torch.equal(shown[~mask], target[~mask]), name
    assert (patchify(found['pictures']['masked'], toys.PATCH)[mask] == 0).all()
    assert not torch.equal(found['pictures']['student'], found['pictures']['teacher'])


@pytest.mark.parametrize('norm_pix', [True, False])
def test_a_perfect_prediction_gives_the_image(norm_pix):
    target = patchify(IMAGES, toys.PATCH)
    if norm_pix:
        mean, var = target.mean(-1, keepdim=True), target.var(-1, keepdim=True)
        target = (target - mean) / (var + 1e-6).sqrt()
    mask = torch.ones(4, 16)
    torch.testing.assert_close(
        as_images(target, IMAGES, mask, toys.PATCH, norm_pix), IMAGES, atol=1e-5, rtol=1e-5
    )
    assert pixel_loss(target, IMAGES, mask, toys.PATCH, norm_pix) < 1e-10


def test_losses_are_over_hidden_patches_and_a_grey_guess_has_unit_error(pair):
    found = reconstruct(pair, IMAGES)
    assert found['losses']['nothing'] == pytest.approx(1, abs=0.01)
    raw = reconstruct(Pair(pair.distiller, pair.teacher, norm_pix=False), IMAGES)
    assert raw['losses']['nothing'] != pytest.approx(found['losses']['nothing'], abs=1e-4)


def test_a_checkpoint_of_version_0_1_is_a_student_too(files, tmp_path):
    state = torch.load(files['student'], weights_only=True)['state_dict']
    old = {name.replace('distillation.adapters.tokens', 'decoderfeature_pred'): tensor
           for name, tensor in state.items()}
    assert old.keys() != state.keys()
    pair = load_pair(stage1(files), toys.save(tmp_path / 'epoch_1.pth', old))
    loaded = pair.distiller.state_dict()
    assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_an_image_has_the_same_mask_in_every_batch(pair):
    whole, part = (reconstruct(pair, each)['pictures']['masked'] for each in (IMAGES, IMAGES[:1]))
    assert torch.equal(whole[:1], part)


def test_files_that_lack_a_decoder_are_refused(files, tmp_path):
    with pytest.raises(CheckpointError, match=toys.words('weights.pth', 'epoch_N.pth')):
        load_pair(stage1(files), files['encoder'])
    stopped = toys.save(tmp_path / 'stopped.pth', toys.autoencoder(pixel_head=False))
    with pytest.raises(CheckpointError, match=toys.words('teacher that draws', 'decoder_norm')):
        load_pair(stage1({**files, 'teacher': stopped}), files['student'])
    with pytest.raises(CheckpointError, match=toys.words('distillation.teacher.checkpoint=FILE')):
        load_pair(stage1(files, checkpoint=None), files['student'])
    with pytest.raises(UserError, match='no stage-1 config'):
        load_pair(Config(dict(model=dict(type='ImageClassifier'))), files['student'])
