"""Options that nothing would read are refused with the key that was meant; new entries pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from g2sd_mm.config.load import load_config
from g2sd_mm.config.options import read_options
from g2sd_mm.errors import UserError
from g2sd_mm.runs.prepare import prepare_training
from tests.helpers.toys import ROOT

#: Has a variable, untyped and typed mappings, parts by name, and data inside of data.
CONFIG = """
width = 32
default_scope = 'mmengine'
model = dict(
    type='Toy', backbone=dict(type='Net', width=width),
    test_cfg=dict(stage1=dict(low=1), rcnn=dict(score_thr=0.1)))
train_cfg = dict(by_epoch=True, max_epochs=2, val_interval=1)
train_dataloader = dict(
    batch_size=4, dataset=dict(type='Outer', dataset=dict(type='Inner', data_root='a')))
val_dataloader = dict(batch_size=4, dataset=dict(type='Inner', data_root='b'))
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.1), paramwise_cfg=dict(norm_decay_mult=0.0))
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1))
distillation = dict(
    teacher=dict(config=dict(), checkpoint='x'), taps=dict(logits1='head'),
    losses=dict(loss_logits=dict(type='KL', tap='logits1')))
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / 'toy.py'
    file.write_text(CONFIG)
    return str(file)


def loaded(config: str, *words: str) -> list[str]:
    """The notes of loading a config with options."""
    notes: list[str] = []
    load_config(config, read_options(words), notes=notes)
    return notes


@pytest.mark.parametrize(
    ('word', 'meant'),
    [
        ('trian_cfg.max_epochs=1', 'train_cfg.max_epochs'),
        ('train_cfg.max_epoch=1', 'train_cfg.max_epochs'),
        ('reliabilty.dry_run=None', 'reliability.dry_run'),
        ('num_clases=2', 'num_classes'),
        ('train_dataloader.batchsize=2', 'train_dataloader.batch_size'),
        ('env_cfg.cudn_benchmark=True', 'env_cfg.cudnn_benchmark'),
        ('randomness.determinstic=True', 'deterministic'),
        ('randomness.sede=1', 'seed'),
        ('auto_scale_lr.base=64', 'base_batch_size'),
        ('optim_wrapper.paramwise_cfg.bias_decay_mul=0', 'paramwise_cfg.bias_decay_mult'),
        ('distillation.teacher.checkpiont=y', 'distillation.teacher.checkpoint'),
        ('default_hooks.chekpoint.interval=2', 'checkpoint'),
        ('model.test_cfg.rcnn.scor_thr=0.3', 'model.test_cfg.rcnn.score_thr'),
        ('distillation.losses.loss_logit=None', 'loss_logits'),
        ('distillation.losses.loss_logit.loss_weight=2', 'distillation.losses.loss_logit.type'),
        # names of other versions of the libraries, and keys without what is above them
        ('optimizer.lr=1e-3', 'optim_wrapper.optimizer.lr'),
        ('lr=1e-3', 'optim_wrapper.optimizer.lr'),
        ('backbone.width=8', 'model.backbone.width'),
        ('data_root=c', 'train_dataloader.dataset.dataset.data_root'),
    ],
)
def test_a_misspelt_key_is_refused_with_the_one_that_was_meant(
    config: str, word: str, meant: str
) -> None:
    with pytest.raises(UserError) as caught:
        loaded(config, word)
    assert word.partition('=')[0] in str(caught.value)
    assert meant in str(caught.value)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    'words',
    [
        ['load_from=x.pth'],
        ['resume=True'],
        ['shapes=None'],
        ['classes_by_position=True'],
        ['reliability.dry_run.images=2'],
        ['reliability={"dry_run": None}'],
        ['randomness.seed=1'],
        ['env_cfg.dist_cfg.timeout=60'],
        ['auto_scale_lr.base_batch_size=8'],
        ['default_hooks.visualization=None'],
        ['default_hooks.averaged.type=EMAHook', 'default_hooks.averaged.momentum=0.1'],
        ["default_hooks.averaged={'type': 'EMAHook'}"],
        ['distillation.losses.loss_logits=None'],
        ["distillation.losses.loss_logits2={'type': 'KL'}"],
        ['distillation.taps.logits2=neck'],
        ['distillation.taps.logit1=neck'],  # the name is a config's choice
        ['model.test_cfg.stage2.low=1'],
        ['distillation.teacher.dtype=float32'],
        ['optim_wrapper.clip_grad={"max_norm": 1}'],
        ['optim_wrapper.paramwise_cfg.bias_decay_mult=0'],
        ['optim_wrapper.paramwise_cfg.custom_keys={"backbone": {"lr_mult": 0.0}}'],
        ['train_cfg.max_epochs=1', 'train_cfg.val_begin=1'],
        ['model.test_cfg.rcnn.max_per_img=5'],
        ['model.backbone.widths=5'],  # for its class to take or refuse
        ['train_dataloader.dataset.dataset.data_root=c'],
    ],
)
def test_entries_that_something_reads_pass_without_a_word(config: str, words: list[str]) -> None:
    assert loaded(config, *words) == []


@pytest.mark.parametrize(
    ('word', 'meant'),
    [
        ('my_own.key=1', 'my_own'),
        ('width=64', 'model.backbone.width'),
    ],
)
def test_what_might_be_read_by_other_code_is_a_note(config: str, word: str, meant: str) -> None:
    (note,) = loaded(config, word)
    assert word.partition('=')[0] in note
    assert meant in note


def test_a_variable_is_no_matter_where_its_place_is_set_too(config: str) -> None:
    assert loaded(config, 'width=64', 'model.backbone.width=64') == []


@pytest.mark.parametrize('folder', ['shapes', 'mini', 'imagenet', 'coco', 'ade20k'])
def test_the_keys_that_shipped_configs_are_documented_with_pass(folder: str) -> None:
    words = ('num_classes=2', 'shapes=None', 'load_from=x', 'train_dataloader.batch_size=2')
    for file in sorted((ROOT / 'configs' / folder).glob('*vits*.py'))[:2]:
        assert loaded(str(file), *words) == []


def test_the_note_is_in_the_log_of_a_run(tmp_path: Path) -> None:
    options = {'my_own.key': 1}
    config = str(ROOT / 'configs/shapes/g2sd_vits_cls_nosd.py')
    options |= {'shapes': None, 'model.backbone.init_cfg': None, 'randomness': None}
    (tmp_path / 'data').mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('g2sd_mm.runs.prepare.agree_for_training', lambda *args: ([], None))
        for name in ('prepare_data', 'verify_named_files', 'check_training_data'):
            patch.setattr(f'g2sd_mm.runs.prepare.{name}', lambda *args: [])
        cfg = prepare_training(config, options, work_dir=str(tmp_path / 'run'))
    (resume,) = [hook for hook in cfg.custom_hooks if hook['type'] == 'ResumeHook']
    assert any('my_own' in note for note in resume['notes'])
    assert cfg.randomness == {'seed': None}  # of stock configs too, which say nothing: drawn anew
