"""Both stages from one end to the other on image files, through the functions of the commands.

The configs are those of ``configs/imagenet`` at toy size; every run is in this process.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from g2sd_mm.checkpoints import CheckpointError, read_weights
from g2sd_mm.engine.hooks.access import bare_model
from g2sd_mm.errors import DataError, UserError
from g2sd_mm.runs.test import evaluate
from g2sd_mm.runs.train import train

from ..helpers import imagenet
from ..helpers.toys import images, run_python, words


@pytest.fixture(scope='module')
def data(image_data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('G2SD_DATA', str(image_data))
        yield image_data


@pytest.fixture(scope='module')
def chain(data, tmp_path_factory) -> SimpleNamespace:
    """MAE, stage 1, teacher, stage 2: each finds the last one's weights where configs say."""
    folder = tmp_path_factory.mktemp('runs')
    runs = str(folder)

    def go(name: str, options: dict):
        return train(imagenet.path(name), options, runs=runs)

    return SimpleNamespace(
        folder=folder,
        mae=go('vitb_mae', imagenet.mae()),
        stage1=go('g2sd_vits_generic', imagenet.stage1(f'{runs}/vitb_mae/weights.pth')),
        teacher=go('vitb_cls', imagenet.plain()),
        stage2=go('g2sd_vits_cls', imagenet.stage2(f'{runs}/vitb_cls/weights.pth')),
    )


def weights(folder: Path, name: str = 'weights.pth') -> dict[str, torch.Tensor]:
    return read_weights(folder / name).state


def scalars(run: Path) -> list[dict]:
    """What a run logged, line by line."""
    (log,) = run.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in log.read_text().splitlines()]


def losses(run: Path) -> list[float]:
    return [line['loss'] for line in scalars(run) if 'loss' in line]


# The chain ----------------------------------------------------------------------------------------


def test_every_run_ends_with_its_weights(chain):
    for name in ('vitb_mae', 'g2sd_vits_generic', 'vitb_cls', 'g2sd_vits_cls'):
        state = weights(chain.folder / name)
        assert all(torch.isfinite(tensor).all() for tensor in state.values())
        assert not [key for key in state if 'teacher' in key or 'adapter' in key]


def test_stage_one_learns_from_the_pre_trained_teacher(chain):
    teacher = chain.stage1.model.teacher.model.state_dict()
    mae = weights(chain.folder / 'vitb_mae')
    assert all(torch.equal(tensor, mae[name]) for name, tensor in teacher.items())
    assert 'decoder_blocks.1.mlp.fc2.weight' in teacher


def test_the_teacher_starts_from_its_pre_training(chain, data):
    """At rate 0, weights stay what they started from."""
    still = {'optim_wrapper.optimizer.lr': 0.0, 'train_cfg.max_epochs': 1,
             'param_scheduler.0.warmup': 0}
    for name, options, source in (
        ('vitb_cls', imagenet.plain(**still), 'vitb_mae'),
        ('g2sd_vits_cls_nosd', imagenet.plain('demo-student', **still), 'g2sd_vits_generic'),
    ):
        work_dir = chain.folder / f'still_{name}'
        train(imagenet.path(name), options, str(work_dir), runs=str(chain.folder))
        ours, source = weights(work_dir), weights(chain.folder / source)
        for part in ('pos_embed', 'cls_token', 'blocks.0.attn.qkv.weight'):
            assert torch.equal(ours[f'backbone.{part}'], source[part]), name


def test_the_two_losses_of_stage_two_are_logged(chain):
    lines = scalars(chain.folder / 'g2sd_vits_cls')
    first = next(line for line in lines if 'loss' in line)
    assert first['loss_dist'] > 0
    assert first['loss'] == pytest.approx(first['loss_task'] + first['loss_dist'], rel=1e-5)
    assert lines[0]['lr'] == 0  # the warm-up starts there


def test_the_teacher_of_stage_two_has_the_data_sets_classes(chain):
    teacher = chain.stage2.model.teacher.model
    assert teacher.head.fc.out_features == 3
    tuned = weights(chain.folder / 'vitb_cls')
    assert torch.equal(teacher.head.fc.weight, tuned['head.fc.weight'])


def test_training_checkpoints_hold_the_student_only(chain):
    saved = torch.load(chain.folder / 'g2sd_vits_cls' / 'epoch_2.pth', weights_only=False)
    assert {name.split('.')[0] for name in saved['state_dict']} <= {'student', 'distillation'}
    held = sum(len(group['params']) for group in saved['optimizer']['param_groups'])
    assert held == len([p for p in chain.stage2.model.student.parameters() if p.requires_grad])


# Deployment ---------------------------------------------------------------------------------------


def predict(model: torch.nn.Module) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return model(images(4))


def test_the_distilled_student_predicts_the_same_in_the_deploy_config(chain):
    """A stock head, and no import of distillers, losses or hooks."""
    cfg = Config.fromfile(imagenet.path('vits_deploy'))
    assert cfg.custom_imports.imports == ['g2sd_mm.models.backbones']
    cfg.merge_from_dict(imagenet.deploy())
    cfg.model.head.num_classes = 3
    plain = MODELS.build(dict(_scope_='mmpretrain', **cfg.model))
    plain.load_state_dict(weights(chain.folder / 'g2sd_vits_cls'))
    assert type(plain.head).__name__ == 'DeiTClsHead'
    assert torch.equal(predict(plain), predict(bare_model(chain.stage2).student))


def test_evaluation_in_the_deploy_config_gives_the_runs_accuracy(chain, tmp_path):
    run = chain.stage2.message_hub.get_scalar('val/accuracy/top1').current()
    out = tmp_path / 'new' / 'results.json'
    metrics = evaluate(
        imagenet.path('vits_deploy'),
        str(chain.folder / 'g2sd_vits_cls' / 'weights.pth'),
        imagenet.deploy(),
        out=str(out),
        runs=str(tmp_path),
    )
    assert metrics == {'accuracy/top1': run}
    written = json.loads(out.read_text())
    assert written['metrics'] == metrics
    assert written['config'] == imagenet.path('vits_deploy')


@pytest.mark.parametrize('file', ['weights.pth', 'best_weights.pth', 'epoch_2.pth'])
def test_evaluation_in_its_own_config_takes_any_of_a_runs_files(chain, tmp_path, file):
    """The teacher is not needed: the config names a file that is not there."""
    options = imagenet.stage2('/no/such/teacher.pth')
    path = str(chain.folder / 'g2sd_vits_cls' / file)
    metrics = evaluate(imagenet.path('g2sd_vits_cls'), path, options, runs=str(tmp_path))
    top1 = [line['accuracy/top1'] for line in scalars(chain.folder / 'g2sd_vits_cls')
            if 'accuracy/top1' in line]
    assert metrics['accuracy/top1'] == (max(top1) if 'best' in file else top1[-1])


def test_evaluation_leaves_the_runs_config_as_it_was_trained(chain):
    run = chain.folder / 'g2sd_vits_cls'
    before = (run / 'g2sd_vits_cls.py').read_bytes()
    options = imagenet.stage2('/no/such/teacher.pth')
    evaluate(imagenet.path('g2sd_vits_cls'), str(run / 'weights.pth'), options,
             runs=str(chain.folder))
    assert (run / 'g2sd_vits_cls.py').read_bytes() == before


def test_evaluation_refuses_weights_that_do_not_fit(chain, tmp_path):
    path = str(chain.folder / 'vitb_cls' / 'weights.pth')
    message = words('weights.pth cannot serve as weights of', 'vits_deploy.py',
                    'an mmpretrain classifier', 'width 128', 'Give the config')
    with pytest.raises(CheckpointError, match=message):
        evaluate(imagenet.path('vits_deploy'), path, imagenet.deploy(), runs=str(tmp_path))


def test_a_pre_training_config_has_nothing_to_test(chain, tmp_path):
    path = str(chain.folder / 'vitb_mae' / 'weights.pth')
    with pytest.raises(UserError, match=words('vitb_mae.py has no test data', 'pre-training')):
        evaluate(imagenet.path('vitb_mae'), path, imagenet.mae(), runs=str(tmp_path))


PLAIN_MMPRETRAIN = """
import sys
import torch
from mmengine.config import Config
from mmpretrain import get_model

config, weights, images, logits = sys.argv[1:]
model = get_model(Config.fromfile(config), pretrained=weights)
with torch.no_grad():
    torch.save(model(torch.load(images)), logits)
print(sorted(name for name in sys.modules if name.startswith('g2sd_mm.')))
"""


def test_plain_mmpretrain_takes_the_student_without_the_distillers(chain, tmp_path):
    """Another process, with the deploy config and mmpretrain's own way of loading."""
    cfg = Config.fromfile(imagenet.path('vits_deploy'))
    cfg.merge_from_dict({**imagenet.deploy(), 'model.head.num_classes': 3})
    cfg.dump(tmp_path / 'deploy.py')
    torch.save(images(4), tmp_path / 'images.pth')
    arguments = [
        str(tmp_path / 'deploy.py'),
        str(chain.folder / 'g2sd_vits_cls' / 'weights.pth'),
        str(tmp_path / 'images.pth'),
        str(tmp_path / 'logits.pth'),
    ]
    done = run_python('-c', PLAIN_MMPRETRAIN, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    logits = torch.load(tmp_path / 'logits.pth')
    assert torch.allclose(logits, predict(bare_model(chain.stage2).student), atol=1e-5)
    imported = done.stdout.splitlines()[-1]
    assert "'g2sd_mm.models.backbones'" in imported
    for part in ('distill', 'engine', 'datasets', 'registered', 'models.heads'):
        assert f"'g2sd_mm.{part}" not in imported


# Resume -------------------------------------------------------------------------------------------


@pytest.mark.parametrize('stage', ['g2sd_vits_generic', 'g2sd_vits_cls'])
def test_a_resumed_run_ends_exactly_as_an_uninterrupted_one(chain, tmp_path, stage):
    """Augmentation, masking, mixing, schedule and optimizer all go on where they were."""
    runs = str(chain.folder)
    options = {
        'g2sd_vits_generic': imagenet.stage1(f'{runs}/vitb_mae/weights.pth'),
        'g2sd_vits_cls': imagenet.stage2(f'{runs}/vitb_cls/weights.pth'),
    }[stage]
    work_dir = tmp_path / 'resumed'
    resume = str(chain.folder / stage / 'epoch_1.pth')
    train(imagenet.path(stage), options, str(work_dir), resume=resume, runs=runs)
    assert losses(work_dir) == losses(chain.folder / stage)[4:]
    whole, resumed = weights(chain.folder / stage), weights(work_dir)
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_the_newest_checkpoint_of_the_work_dir_is_found(chain, tmp_path):
    work_dir = tmp_path / 'work'
    work_dir.mkdir()
    shutil.copy(chain.folder / 'vitb_mae' / 'epoch_1.pth', work_dir)
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_1.pth'))
    runner = train(imagenet.path('vitb_mae'), imagenet.mae(), str(work_dir), resume='auto')
    assert runner.iter == 8
    assert len(losses(work_dir)) == 4


def test_the_seed_decides_everything(chain, tmp_path):
    ends = []
    # stock configs of detection and segmentation give theirs this name
    local = dict(
        type='Visualizer', name='visualizer', vis_backends=[dict(type='LocalVisBackend')])
    options = imagenet.mae() | {'visualizer': local}
    for seed in (0, 0, 1):
        work_dir = tmp_path / f'{len(ends)}'
        train(imagenet.path('vitb_mae'), options, str(work_dir), seed=seed)
        assert len(losses(work_dir)) == 8  # each run's figures are in its own folder
        ends.append(weights(work_dir)['decoder_pred.weight'])
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[0], weights(chain.folder / 'vitb_mae')['decoder_pred.weight'])
    assert not torch.equal(ends[0], ends[2])


# What people get wrong ----------------------------------------------------------------------------


def test_an_unknown_arch_is_one_line(data, tmp_path):
    options = imagenet.mae(**{'model.arch': 'demo-techer'})
    message = words("unknown arch 'demo-techer'", 'known are tiny', "mean 'demo-teacher'?")
    with pytest.raises(ValueError, match=message) as caught:
        train(imagenet.path('vitb_mae'), options, runs=str(tmp_path))
    assert '\n' not in str(caught.value)


def test_stage_one_without_a_teacher_is_one_line(data, tmp_path):
    message = words('no checkpoint', 'distillation.teacher.checkpoint=')
    with pytest.raises(CheckpointError, match=message):
        train(imagenet.path('g2sd_vits_generic'), imagenet.stage1(None), runs=str(tmp_path))


def test_stage_one_refuses_the_fine_tuned_teacher(chain, tmp_path):
    options = imagenet.stage1(str(chain.folder / 'vitb_cls' / 'weights.pth'))
    with pytest.raises(CheckpointError, match=words('cannot serve as stage-1 teacher')):
        train(imagenet.path('g2sd_vits_generic'), options, runs=str(tmp_path))


def test_mixed_precision_on_a_cpu_is_refused(data, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(UserError, match='--amp needs a GPU'):
        train(imagenet.path('vitb_mae'), imagenet.mae(), amp=True, runs=str(tmp_path))


def test_a_wrong_class_count_is_refused_before_training(data, tmp_path):
    options = imagenet.plain(num_classes=7)
    with pytest.raises(UserError, match=words('3 class folders', 'num_classes=7')):
        train(imagenet.path('vitb_cls'), options, runs=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def broken_data(data, tmp_path, monkeypatch):
    """A copy with one image that cannot be read."""
    copy = tmp_path / 'data'
    shutil.copytree(data, copy)
    next((copy / 'imagenet' / 'train').rglob('*.jpg')).write_bytes(b'\xff\xd8\xff\xe0 torn')
    monkeypatch.setenv('G2SD_DATA', str(copy))
    return copy


def test_a_corrupt_image_is_skipped_with_a_count_in_the_log(broken_data, tmp_path):
    work_dir = tmp_path / 'work'
    train(imagenet.path('vitb_mae'), imagenet.mae(), str(work_dir))
    (log,) = work_dir.glob('*/*.log')
    text = log.read_text()
    assert text.count('sample skipped (1 so far): ') == 1
    assert '1 training sample(s) were unreadable and skipped' in text


def test_an_option_makes_a_corrupt_image_fatal(broken_data, tmp_path):
    options = imagenet.mae(**{'train_dataloader.dataset.on_error': 'raise'})
    with pytest.raises(DataError, match=words('unreadable sample', '.jpg')):
        train(imagenet.path('vitb_mae'), options, runs=str(tmp_path))


# A stock config -----------------------------------------------------------------------------------


def test_a_stock_mmpretrain_config_is_distilled_by_a_block(chain, data, tmp_path):
    """mmpretrain's own ResNet, data and schedule; ten lines added. It says nothing of seeds."""
    teacher = imagenet.stage2(None)['distillation.teacher.overrides']
    path = tmp_path / 'resnet_distilled.py'
    path.write_text(f'''
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=3, in_channels=64,
              loss=dict(type='CrossEntropyLoss')))
data_preprocessor = dict(
    num_classes=3, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
train_dataloader = dict(
    batch_size=6, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CustomDataset', data_root={str(data / 'imagenet' / 'train')!r}, pipeline=[
        dict(type='LoadImageFromFile'), dict(type='RandomResizedCrop', scale=32),
        dict(type='PackInputs')]))
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))
train_cfg = dict(by_epoch=True, max_epochs=1)
default_hooks = dict(logger=dict(type='LoggerHook', interval=1))
log_level = 'WARNING'

distillation = dict(
    teacher=dict(
        config='configs/imagenet/vitb_cls.py', checkpoint='work_dirs/vitb_cls/weights.pth',
        overrides={{**{teacher!r}, 'model.head.num_classes': 3}}),
    taps=dict(logits='head.fc'),
    losses=dict(loss_dist=dict(type='HardDistillationLoss', tap='logits')))
''')
    runner = train(str(path), runs=str(chain.folder), work_dir=str(tmp_path / 'work'))
    assert type(runner.model).__name__ == 'SpecificDistiller'
    assert scalars(tmp_path / 'work')[0]['loss_dist'] > 0
    from mmpretrain.models import ImageClassifier

    stock = Config.fromfile(str(path)).model
    plain = MODELS.build(dict(_scope_='mmpretrain', **stock))
    assert isinstance(plain, ImageClassifier)
    plain.load_state_dict(weights(tmp_path / 'work'))
