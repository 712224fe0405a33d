"""Words of version 0.1 stop with one line that has the new one."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config

import g2sd_mm
from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.config.load import is_old_stage1_run, load_config
from g2sd_mm.errors import UserError
from g2sd_mm.runs.train import train

from .helpers import imagenet
from .helpers.toys import ROOT, autoencoder, distiller, refused, save, words

STAGE1 = str(ROOT / 'configs/shapes/g2sd_vits_generic.py')
OLD = "model = dict(type='GenericDistiller', student=dict(arch='tiny'), target_block=4)\n"



@pytest.mark.parametrize(
    ('old', 'value', 'new', 'place'),
    [
        ('teacher.checkpoint', 'mae.pth', 'distillation.teacher.checkpoint', 'teacher'),
        ('teacher.dtype', 'bfloat16', 'distillation.teacher.dtype', 'teacher'),
        ('student.arch', 'tiny', 'model.arch', None),
        ('student.with_cp', True, 'model.with_cp', None),
        ('target_block', 4, 'distillation.teacher.until', 'teacher'),
        ('supervise', 'masked', 'distillation.losses.loss_tokens.tokens', 'loss'),
        ('beta', 1.0, 'distillation.losses.loss_tokens.beta', 'loss'),
    ],
)
def test_an_old_option_names_the_new_one_which_works(old, value, new, place):
    with refused(f'model.{old} is now {new}'):
        load_config(STAGE1, {f'model.{old}': value})
    wanted = 'decoder_blocks.3' if old == 'target_block' else value  # counted from 0
    cfg = load_config(STAGE1, {new: wanted})
    block = cfg.distillation
    part = {None: cfg.model, 'teacher': block.teacher, 'loss': block.losses.loss_tokens}[place]
    assert part[new.rpartition('.')[2]] == wanted


@pytest.mark.parametrize('name', ['encoder', 'relation'])
def test_an_extra_loss_names_a_config_that_has_it(name):
    with pytest.raises(UserError, match=words(f'model.{name}_weight is now')) as caught:
        load_config(STAGE1, {f'model.{name}_weight': 1.0})
    (config,) = [word for word in str(caught.value).split() if '.py' in word]
    losses = Config.fromfile(ROOT / config.rstrip(':')).distillation.losses
    assert f'loss_{name}' in losses


def test_an_old_config_is_told_of_the_block(tmp_path):
    (tmp_path / 'old.py').write_text(OLD)
    for read in (load_config, lambda path: g2sd_mm.distill_config(Config.fromfile(path))):
        with refused('old.py', 'GenericDistiller', 'MaskedStudent', 'MAETeacher') as caught:
            read(str(tmp_path / 'old.py'))
        assert '\n' not in str(caught.value)


def test_a_switch_that_became_a_choice_is_named():
    with refused('loss_tokens.normalise is now', 'loss_tokens.target', "'none' for False"):
        load_config(STAGE1, {'distillation.losses.loss_tokens.normalise': False})


def test_configs_of_the_project_are_in_new_words():
    for path in (ROOT / 'configs').rglob('*generic*.py'):
        if path.parent.name != '_base_':
            g2sd_mm.distill_config(Config.fromfile(path))


def old_state(state: dict) -> dict:
    """Of a distiller, as version 0.1 named it."""
    ours, published = 'distillation.adapters.tokens.', 'decoderfeature_pred.'
    return {name.replace(ours, published): tensor for name, tensor in state.items()}


def test_an_old_training_checkpoint_is_told_from_a_new_one():
    state = distiller().state_dict()
    assert is_old_stage1_run(old_state(state))
    assert not is_old_stage1_run(state)


def test_resuming_an_old_stage_1_run_stops_and_starting_from_it_works(
    image_data, tmp_path, monkeypatch
):
    monkeypatch.setenv('G2SD_DATA', str(image_data))
    size = dict(arch='demo-teacher', decoder='dec64d2b', img_size=imagenet.IMAGE)
    options = imagenet.stage1(save(tmp_path / 'mae.pth', autoencoder(size)))
    config, folder = imagenet.path('g2sd_vits_generic'), tmp_path / 'run'
    first = {**options, 'train_cfg.max_epochs': 1, 'param_scheduler.0.warmup': 0}
    train(config, first, str(folder))
    checkpoint = torch.load(folder / 'epoch_1.pth', weights_only=False)
    checkpoint['state_dict'] = old_state(checkpoint['state_dict'])
    path = tmp_path / 'old.pth'
    torch.save(checkpoint, path)
    message = words('cannot go on from', 'old.pth', 'MaskedStudent', f'load_from={path}')
    with pytest.raises(CheckpointError, match=message):
        train(config, options, str(tmp_path / 'again'), resume=str(path))
    still = {**first, 'optim_wrapper.optimizer.lr': 0.0, 'load_from': str(path)}
    started = train(config, still, str(tmp_path / 'anew')).model.student.state_dict()
    for name, tensor in started.items():
        assert torch.equal(tensor, checkpoint['state_dict'][f'student.{name}']), name
