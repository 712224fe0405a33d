"""Channels of network, normalisation and teacher agree, or the config is refused by name."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config

import g2sd_mm
from g2sd_mm.bench.suites.budget import raw_config
from g2sd_mm.bench.suites.paper import PAPER
from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.cli.train import parser
from g2sd_mm.config.load import check_channels, image_channels, is_old_stage1_run, load_config
from g2sd_mm.config.options import read_options
from g2sd_mm.config.project import find_config, refuse_old_config
from g2sd_mm.errors import UserError
from g2sd_mm.runs.train import train

from ..helpers import imagenet
from ..helpers.toys import ROOT, autoencoder, config, distiller, refused, save, words


def classifier(channels: int, values: int, place: str = 'top', **settings) -> Config:
    preprocessor = dict(mean=[1.0] * values, std=[1.0] * values, **settings)
    model = dict(type='ImageClassifier', backbone=dict(type='G2SDViT', in_channels=channels))
    if place == 'top':
        return Config(dict(model=model, data_preprocessor=preprocessor))
    return Config(dict(model=dict(**model, data_preprocessor=preprocessor)))


@pytest.mark.parametrize('place', ['top', 'model'])
@pytest.mark.parametrize(('channels', 'values'), [(3, 4), (4, 3), (13, 2), (1, 3)])
def test_as_many_means_as_channels(channels, values, place):
    entry = 'data_preprocessor.mean' if place == 'top' else 'model.data_preprocessor.mean'
    with refused(entry, f'{values} values', f'model.backbone.in_channels is {channels}'):
        check_channels(classifier(channels, values, place))


@pytest.mark.parametrize(('channels', 'values'), [(3, 3), (3, 1), (1, 1), (2, 2), (13, 13)])
def test_what_agrees_passes(channels, values):
    check_channels(classifier(channels, values))


def test_colours_of_no_three_channels_are_not_exchanged():
    wrong = dict(type='mmdet.DetDataPreprocessor', bgr_to_rgb=True)
    with refused('model.data_preprocessor.bgr_to_rgb', 'in_channels is 4', 'False'):
        check_channels(classifier(4, 4, 'model', **wrong))
    check_channels(classifier(4, 4, 'model', **{**wrong, 'bgr_to_rgb': False}))
    check_channels(classifier(3, 3, 'model', **wrong))


def test_student_and_teacher_of_stage_one_see_the_same_images():
    both = {'model.in_channels': 4, 'data_preprocessor.bgr_to_rgb': False,
            'data_preprocessor.mean': [1.0] * 4, 'data_preprocessor.std': [1.0] * 4}
    with refused('model.in_channels=4', 'distillation.teacher.in_channels=3'):
        config('imagenet/g2sd_vits_generic.py', **both)
    cfg = config('imagenet/g2sd_vits_generic.py', **both, **{'distillation.teacher.in_channels': 4})
    assert image_channels(cfg.model) == 4


def test_images_are_rgb_where_nothing_else_is_said():
    assert image_channels(dict(backbone=dict(type='ResNet'))) == 3
    assert image_channels(dict(backbone=dict(type='ResNet', in_channels=1))) == 1


STAGE1 = str(ROOT / 'configs/shapes/g2sd_vits_generic.py')
#: Runs of the paper's suite that had a config each, of one changed value.
ABLATIONS = [
    step for step in PAPER.steps
    if 'ablations' not in step.config and not step.config.endswith(f'/{step.name}.py')
    and 'nosd' not in step.config
]
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
    with refused('TeacherLabelsHook', "by='step'"):
        load_config(STAGE1, {'custom_hooks': [dict(type='TeacherLabelsHook', folder='labels')]})


@pytest.mark.parametrize('step', ABLATIONS, ids=lambda step: step.name)
def test_a_config_that_became_an_option_names_the_options_which_do_the_same(step):
    """As ``tools/train.py`` and the suite read them."""
    with pytest.raises(UserError, match=step.name) as caught:
        find_config(f'configs/ablations/{step.name}.py')
    said = str(caught.value).split()
    place = said.index('--cfg-options')
    given = parser().parse_args([said[place - 2], *said[place:]])
    told = raw_config(given.config, read_options(given.cfg_options))
    options = {k: v for k, v in step.options.items() if not k.endswith('checkpoint')}
    assert told.to_dict() == raw_config(step.config, options).to_dict()
    assert options and '\n' not in str(caught.value)


def test_the_demos_row_without_stage_1_is_options_of_the_two_token_config():
    for name in ('configs/shapes/vits_single_stage.py', 'shapes/vits_single_stage'):
        with refused('vits_single_stage', 'g2sd_vits_two_token_cls.py', 'init_cfg=None') as caught:
            find_config(name)
        said = str(caught.value).split()
        options = said[said.index('--cfg-options') + 1 :]
        cfg = raw_config('configs/shapes/g2sd_vits_two_token_cls.py', read_options(options))
        assert cfg.model.backbone.init_cfg is None and cfg.model.head.class_std == 0.02


def test_a_config_of_a_reader_that_begins_from_one_is_told_the_same(tmp_path):
    (tmp_path / 'mine.py').write_text("_base_ = './ablations/g2sd_vits_generic_mask50.py'\n")
    with refused('g2sd_vits_generic_mask50.py is now', 'model.mask_ratio=0.5'):
        load_config(str(tmp_path / 'mine.py'))
    (tmp_path / 'mine.py').write_text("_base_ = './ablations/other.py'\n")
    with pytest.raises(FileNotFoundError, match=r'other\.py'):
        load_config(str(tmp_path / 'mine.py'))


@pytest.mark.parametrize(
    ('text', 'cause'),
    [('a = foo', 'NameError'), ('a = (', 'never closed'), ('a = {}["b"]', 'KeyError')],
)
def test_lines_that_python_cannot_run_are_told_with_their_file(text, cause, tmp_path):
    (tmp_path / 'parts.py').write_text(text)
    (tmp_path / 'whole.py').write_text("_base_ = 'parts.py'")
    with refused(f'{tmp_path}/whole.py', cause, 'parts.py'):
        load_config(f'{tmp_path}/whole.py')


def test_configs_that_are_still_there_are_not_refused():
    for path in (ROOT / 'configs/ablations').glob('*.py'):
        assert find_config(f'configs/ablations/{path.name}')
        refuse_old_config(str(path))


def test_configs_of_the_project_are_in_new_words():
    for path in (ROOT / 'configs').rglob('*generic*.py'):
        if path.parent.name != '_base_':
            g2sd_mm.distill_config(Config.fromfile(path))


def old_state(state: dict) -> dict:
    """Of a distiller, as version 0.1 named it."""
    ours, published = 'distillation.adapters.tokens.', 'decoderfeature_pred.'
    return {name.replace(ours, published): tensor for name, tensor in state.items()}


def test_paths_in_tuples_follow_the_folders_too(tmp_path, monkeypatch):
    monkeypatch.setenv('G2SD_DATA', '/big')
    path = tmp_path / 'config.py'
    path.write_text("files = dict(pair=('data/a', 'work_dirs/b'), nested=[('data/c', 1)])")
    files = load_config(str(path), runs='runs').files
    assert files.pair == ('/big/a', 'runs/b')
    assert files.nested == [('/big/c', 1)]


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
