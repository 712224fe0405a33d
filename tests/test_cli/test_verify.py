"""Does a file fit a config: asked by ``checkpoint.py verify``, and by ``train.py`` of itself."""

from __future__ import annotations

import functools
import time

import pytest
import torch

from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.checkpoints.positions import transpose_positions
from g2sd_mm.cli.checkpoint_commands.verify import ROLES, grouped
from g2sd_mm.runs.train import train
from g2sd_mm.runs.verify import verify

from ..helpers import imagenet
from ..helpers.fake_checkpoints import BASE, FAKES, TINY, Size, hollow_state, wrapped
from ..helpers.toys import ROOT, autoencoder, save, words

SMALL_VIT = Size(384, 12, 6, decoder_dim=256, decoder_depth=4, classes=1000)


@pytest.fixture
def fake(tmp_path):
    """A full-size file on a few kilobytes."""

    def write(name: str, size: Size, file: str = 'file.pth') -> str:
        content = wrapped(FAKES[name], hollow_state(FAKES[name].shapes(size)))
        torch.save(content, tmp_path / file)
        return str(tmp_path / file)

    return write


def fits(config: str, file: str) -> dict[str, bool]:
    verdicts = verify(str(ROOT / 'configs' / f'{config}.py'), file)
    return {verdict.role: not verdict.problem for verdict in verdicts}


@pytest.mark.parametrize(
    ('config', 'name', 'size', 'roles'),
    [
        ('imagenet/g2sd_vits_generic', 'mae_full', BASE, {'teacher'}),
        ('imagenet/g2sd_vits_generic', 'hf_mae', BASE, {'teacher'}),
        ('imagenet/g2sd_vits_generic', 'mmpretrain_mae', BASE, {'teacher'}),
        ('imagenet/g2sd_vits_generic', 'mae_encoder', BASE, set()),
        ('imagenet/g2sd_vits_generic', 'g2sd_student', SMALL_VIT, {'load_from'}),
        ('imagenet/vitb_mae', 'mae_full', BASE, {'load_from'}),
        ('imagenet/vitb_mae', 'mae_encoder', BASE, {'load_from'}),
        ('imagenet/g2sd_vitt_cls', 'mae_finetuned', BASE, {'teacher'}),
        ('imagenet/g2sd_vitt_cls', 'mmpretrain_pooled', BASE, {'teacher'}),
        ('imagenet/g2sd_vitt_cls', 'hf_beit', BASE, {'teacher'}),
        ('imagenet/g2sd_vitt_cls', 'stage1_run', TINY, {'init_cfg'}),
        ('imagenet/g2sd_vitt_cls', 'mae_encoder', TINY, {'init_cfg'}),
        ('imagenet/g2sd_vitt_cls', 'g2sd_classifier', TINY, {'init_cfg', 'weights', 'load_from'}),
        ('imagenet/vitt_deploy', 'timm_distilled', TINY, {'init_cfg', 'weights', 'load_from'}),
        ('imagenet/vitt_deploy', 'hf_deit', TINY, {'init_cfg', 'weights', 'load_from'}),
        ('imagenet/g2sd_vitt_cls', 'stage2_run', TINY, {'init_cfg', 'weights', 'load_from'}),
        ('coco/g2sd_vitt_maskrcnn', 'detectron2', BASE, {'teacher'}),
        ('coco/g2sd_vitt_maskrcnn', 'detectron2', TINY, {'init_cfg', 'weights', 'load_from'}),
        ('coco/g2sd_vitt_maskrcnn', 'g2sd_student', TINY, {'init_cfg'}),
    ],
)
def test_a_file_fits_where_it_should_and_nowhere_else(config, name, size, roles, fake):
    file = fake(name, size)
    assert {role for role, fit in fits(config, file).items() if fit} == roles


SEGMENTS = Size(192, 12, 3, image=512, classes=150)


@pytest.mark.parametrize('name', ['segmentor', 'seg_distiller', 'our_segmentor', 'mmseg'])
def test_segmentors_fit_under_any_names(name, fake):
    file = fake(name, SEGMENTS)
    found = fits('ade20k/g2sd_vitt_upernet', file)
    assert found['weights']
    assert found['load_from']
    assert not found['teacher']  # of base size


# The command --------------------------------------------------------------------------------------


@pytest.fixture
def tool(tool):
    return functools.partial(tool, 'verify')


def config(name: str) -> str:
    return str(ROOT / 'configs' / f'{name}.py')


def test_every_role_is_answered(tool, fake):
    code, out, err = tool(config('imagenet/g2sd_vitt_cls'), fake('mae_encoder', TINY))
    lines = out.splitlines()
    assert code == 0
    assert err == ''
    assert lines[0].startswith('note  no decoder')
    assert [line[:5].strip() for line in lines if line[:3] in ('yes', 'no ')] == [
        'no', 'yes', 'no', 'no'
    ]
    assert f'yes   {ROLES["init_cfg"]}' in lines
    assert '      keeps its initial values: dist_token' in lines


@pytest.mark.parametrize(
    ('role', 'config_name', 'name', 'size', 'message'),
    [
        ('teacher', 'imagenet/g2sd_vits_generic', 'mae_encoder', BASE,
         ('cannot serve as stage-1 teacher: it is a plain ViT encoder',
          'mae_pretrain_vit_base_full.pth')),
        ('teacher', 'imagenet/g2sd_vits_generic', 'stage1_run', SMALL_VIT,
         ('stage-1 teacher', 'a stage-1 training checkpoint', 'a student, not a teacher')),
        ('teacher', 'imagenet/g2sd_vits_cls', 'our_distilled', SMALL_VIT,
         ('as teacher', 'an mmpretrain classifier with our backbone', 'of another size')),
        ('init_cfg', 'imagenet/g2sd_vits_cls', 'mae_finetuned', BASE,
         ('initialisation of G2SDViT', 'a fine-tuned MAE classifier', 'of another size')),
    ],
    ids=['encoder as teacher', 'student as stage-1 teacher', 'student as teacher',
         'teacher as student'],
)
def test_the_wrong_file_gets_one_right_line_within_seconds(
    role, config_name, name, size, message, tool, fake
):
    file = fake(name, size)
    started = time.monotonic()
    code, out, err = tool(config(config_name), file, '--role', role)
    assert time.monotonic() - started < 20
    assert (code, out) == (2, '')
    (line,) = err.splitlines()
    position = 0
    for part in message:
        assert part in line[position:], line
        position = line.index(part, position)


def test_a_file_that_fits_nowhere_is_an_error(tool, fake):
    code, _, err = tool(config('imagenet/g2sd_vits_generic'), fake('timm', TINY))
    assert code == 2
    assert err.endswith('in no role\n')


def test_a_role_that_a_config_does_not_have_is_said(tool, fake):
    code, _, err = tool(config('imagenet/vitb_mae'), fake('timm', TINY), '--role', 'teacher')
    assert code == 2
    assert 'has no place for a file as teacher' in err


def test_a_transposed_teacher_is_refused(tool, tmp_path):
    state = transpose_positions(autoencoder(dict(arch='base', decoder='dec512d8b')).state_dict())
    file = save(tmp_path / 'mae.pth', state)
    code, _, err = tool(config('imagenet/g2sd_vits_generic'), file, '--role', 'teacher')
    assert code == 2
    assert 'position embedding is transposed' in err


def test_names_are_counted_by_block():
    names = ['blocks.0.gamma_1', 'blocks.1.gamma_1', 'dist_token']
    assert grouped(names) == ['blocks.*.gamma_1 (2)', 'dist_token']


# train.py -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('g2sd_vits_generic', lambda file: imagenet.stage1(file), ('stage-1 teacher',)),
        ('g2sd_vits_cls', lambda file: imagenet.stage2(file), ('teacher', 'vitb_cls')),
        ('vits_mae_cls', lambda file: imagenet.plain(
            **{'model.backbone.init_cfg.checkpoint': file}), ('initialisation of G2SDViT',)),
        ('vits_scratch_cls', lambda file: imagenet.plain(load_from=file),
         ('start of ImageClassifier',)),
        ('vitb_mae', lambda file: imagenet.mae(load_from=file), ('start of an autoencoder',)),
    ],
    ids=['stage-1 teacher', 'stage-2 teacher', 'init_cfg', 'load_from', 'autoencoder'],
)
def test_training_stops_before_it_starts(
    name, options, message, fake, image_data, monkeypatch, tmp_path
):
    monkeypatch.setenv('G2SD_DATA', str(image_data))
    monkeypatch.setattr('mmengine.runner.Runner.from_cfg', lambda cfg: pytest.fail('it started'))
    file = fake('timm', TINY)
    with pytest.raises(CheckpointError, match=words('file.pth cannot serve as', *message)):
        train(imagenet.path(name), options(file), runs=str(tmp_path))


def test_a_run_starts_from_load_from(image_data, monkeypatch, tmp_path):
    monkeypatch.setenv('G2SD_DATA', str(image_data))
    source = autoencoder(
        dict(arch='demo-teacher', decoder='dec64d2b', img_size=32), seed=7
    )
    file = save(tmp_path / 'start.pth', source)
    options = imagenet.mae(load_from=file, **{'optim_wrapper.optimizer.lr': 0.0})
    run = train(imagenet.path('vitb_mae'), options, runs=str(tmp_path))
    state = run.model.autoencoder.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in source.state_dict().items())
