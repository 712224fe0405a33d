"""A step that was not finite is run again from its bundle, and its first bad module is named."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS

from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.compat.safe_load import load_checkpoint
from g2sd_mm.distill import MaskedStudent, SpecificDistiller
from g2sd_mm.errors import RunError
from g2sd_mm.runs.replay import replay
from g2sd_mm.runs.train import train

from ..helpers import imagenet
from ..helpers.toys import autoencoder, classifier, classifier_cfg, save, words


@MODELS.register_module(force=True)
class Brittle(MaskedStudent):
    """A number becomes infinite in one of its blocks, or in the loss, at one step."""

    place = 'block'

    def forward(self, *args, mode='tensor', **kwargs):
        self.step = getattr(self, 'step', -1) + (mode == 'loss')
        block = self.blocks[1].mlp
        if fails := self.step == 2 and self.place == 'block':
            handle = block.register_forward_hook(lambda m, args, out: out * math.inf)
        features = super().forward(*args, mode=mode, **kwargs)
        if fails:
            handle.remove()
        return features


def brittle_losses(distiller, *args, _losses=SpecificDistiller.losses):
    """What happens outside of all modules."""
    losses, student = _losses(distiller, *args), distiller.student
    if student.step == 2 and student.place == 'gradient':
        losses['loss_tokens'].register_hook(lambda grad: grad * math.nan)
    if student.step == 2 and student.place == 'loss':
        losses['loss_tokens'] = losses['loss_tokens'] * math.nan
    return losses


@pytest.fixture(scope='module')
def teacher(tmp_path_factory) -> str:
    mae = autoencoder(dict(arch='demo-teacher', decoder='dec64d2b', img_size=32))
    return save(tmp_path_factory.mktemp('teacher') / 'mae.pth', mae)


@pytest.fixture
def failed(image_data, teacher, tmp_path, monkeypatch):
    """The work dir of a run that stopped at step 3; the place is the argument."""
    monkeypatch.setenv('G2SD_DATA', str(image_data))

    def run(place: str, **changes) -> Path:
        monkeypatch.setattr(Brittle, 'place', place)
        monkeypatch.setattr(SpecificDistiller, 'losses', brittle_losses)
        options = imagenet.stage1(teacher, **{'model.type': 'Brittle', **changes})
        with pytest.raises(RunError, match=words('at step 3', 'batch: ', '.jpg', '--replay')):
            train(imagenet.path('g2sd_vits_generic'), options, str(tmp_path))
        # in the replay that step is the first of a new model
        monkeypatch.setattr(
            Brittle, 'step', property(lambda self: 2, lambda self, value: None), raising=False
        )
        return tmp_path

    return run


def again(folder: Path, **options) -> str:
    config = str(folder / 'g2sd_vits_generic.py')
    return replay(config, str(folder / 'non_finite_3_rank0.pth'), options)


def test_the_first_module_is_named(failed):
    report = again(failed('block'))
    assert 'step 3: loss=nan' in report
    assert 'first module that gives a number that is not finite: student.blocks.1' in report
    assert 'class_' in report.splitlines()[-1]


def test_a_loss_is_named(failed):
    assert 'all modules are finite, a loss is not' in again(failed('loss'))


def test_gradients_are_named(failed):
    report = again(failed('gradient'))
    place = 'distillation.adapters.tokens'
    assert f'gradients are not, from the output backwards first in: {place}' in report


def test_weights_that_were_bad_before_are_named(failed):
    folder = failed('block')
    path = folder / 'non_finite_3_rank0.pth'
    content = load_checkpoint(path)
    content['state_dict']['student.norm.weight'][0] = math.nan
    torch.save(content, path)
    assert again(folder) == 'not finite before the step: student.norm.weight'


def test_the_same_draws_are_made(failed, monkeypatch):
    """Its losses are those of the run, up to the module that was bad in it."""
    folder = failed('gradient')
    said = again(folder)
    (losses,) = load_checkpoint(folder / 'non_finite_3_rank0.pth')['losses']
    assert f'loss_tokens={losses["loss_tokens"]:.4g}' in said


@MODELS.register_module(force=True)
class Exploding(torch.nn.Module):
    def forward(self, student, teacher):
        return (student - teacher).square().sum() * math.inf


def test_losses_that_a_hook_adds_are_there(image_data, tmp_path, monkeypatch):
    monkeypatch.setenv('G2SD_DATA', str(image_data))
    taught = dict(config=dict(model=classifier_cfg(dim=24)),
                  checkpoint=save(tmp_path / 'teacher.pth', classifier(dim=24)))  # fmt: skip
    loss = dict(type='Exploding', tap='logits')
    hook = dict(type='DistillationHook', teacher=taught, taps=dict(logits='head.fc'),
                losses=dict(loss_bad=loss))  # fmt: skip
    options = imagenet.plain('demo-student', custom_hooks=[hook])
    options['model.backbone.init_cfg'] = None
    with pytest.raises(RunError, match='at step 1'):
        train(imagenet.path('g2sd_vits_cls_nosd'), options, str(tmp_path))
    config = str(tmp_path / 'g2sd_vits_cls_nosd.py')
    said = replay(config, str(tmp_path / 'non_finite_1_rank0.pth'))
    assert 'loss_bad=inf' in said and 'a loss is not' in said


def test_a_step_that_is_finite_here_says_so(failed, monkeypatch):
    folder = failed('block')
    monkeypatch.setattr(Brittle, 'place', 'nowhere')
    assert 'all is finite here' in again(folder)


def test_another_config_is_refused(failed):
    folder = failed('block')
    with pytest.raises(CheckpointError, match=words('not of this config', "the run's work dir")):
        again(folder, **{'model.student.decoder': 'dec64d2b'})
