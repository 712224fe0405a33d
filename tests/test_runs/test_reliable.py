"""What every run gets beside its config."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.config.options import read_options
from g2sd_mm.errors import UserError
from g2sd_mm.runs.reliable import fit_rules, make_reliable
from g2sd_mm.runs.resume import find_start
from g2sd_mm.runs.work_dir import check_work_dir

from ..helpers.toys import config, words

_TRIES = 'DryRunHook', 'TeacherMetricHook'  # before the first step


def stock(**changes) -> Config:
    """As somebody may have it who knows nothing of this project."""
    return Config(
        dict(
            train_cfg=dict(by_epoch=True, max_epochs=3),
            train_dataloader=dict(dataset=dict(type='CustomDataset'), batch_size=4),
            work_dir='nowhere',
            **changes,
        )
    )


def types(cfg: Config) -> list[str]:
    return [hook['type'] for hook in cfg.custom_hooks]


def test_a_stock_config_gets_loop_checkpoints_and_alarms():
    cfg = stock()
    make_reliable(cfg)
    assert cfg.train_cfg == dict(type='ResumableEpochLoop', max_epochs=3)
    assert cfg.default_hooks.checkpoint == dict(type='WholeCheckpointHook', interval=1)
    assert types(cfg) == ['NonFiniteHook', 'DivergenceHook', *_TRIES, 'PreemptionHook']
    assert cfg.train_dataloader.worker_init_fn.type == 'patient_worker'


def test_a_run_whose_gradients_are_clipped_to_nothing_is_refused():
    with pytest.raises(UserError, match=words('clip_grad.max_norm=0')):
        make_reliable(stock(optim_wrapper=dict(clip_grad=dict(max_norm=0))))


def test_what_a_config_says_stays():
    cfg = stock(
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=7), logger=None),
        custom_hooks=[dict(type='DivergenceHook', factor=2.0)],
    )
    cfg.train_dataloader.worker_init_fn = dict(type='theirs')
    make_reliable(cfg)
    assert cfg.default_hooks.checkpoint == dict(type='WholeCheckpointHook', interval=7)
    assert cfg.default_hooks.logger is None
    assert cfg.custom_hooks[0].factor == 2.0
    assert types(cfg) == ['DivergenceHook', 'NonFiniteHook', *_TRIES, 'PreemptionHook']
    assert cfg.train_dataloader.worker_init_fn.type == 'theirs'


@pytest.mark.parametrize('hook', [None, dict(type='TheirHook')])
def test_checkpoints_of_another_kind_are_left_alone(hook):
    cfg = stock(default_hooks=dict(checkpoint=hook))
    make_reliable(cfg)
    assert cfg.default_hooks.checkpoint == hook


@pytest.mark.parametrize('loop', [
    dict(by_epoch=False, max_iters=3), dict(type='IterBasedTrainLoop', max_iters=3),
])
def test_iterations_have_mmengines_loop(loop):
    cfg = stock()
    cfg.train_cfg = loop
    make_reliable(cfg)
    assert cfg.train_cfg == dict(type='ResumableIterLoop', max_iters=3)


def test_iterations_have_a_sampler_without_an_end():
    cfg = stock()
    cfg.train_cfg = dict(by_epoch=False, max_iters=3)
    cfg.train_dataloader.sampler = dict(type='SeededSampler')
    make_reliable(cfg)
    assert cfg.train_dataloader.sampler == dict(type='SeededSampler', infinite=True)


@pytest.mark.parametrize('hooks', [
    ['dict(type="EMAHook")'], 'dict(type="EMAHook")', 'EMAHook', dict(type='EMAHook'), [dict(a=1)],
])
def test_hooks_that_are_none_are_refused_with_how_to_write_them(hooks):
    cfg = stock()
    cfg.custom_hooks = hooks
    with pytest.raises(UserError, match='custom_hooks=') as refusal:
        make_reliable(cfg)
    (word,) = shlex.split(str(refusal.value).partition('--cfg-options ')[2])
    assert read_options([word]) == {'custom_hooks': [{'type': 'EMAHook'}]}


def test_alarms_are_set_by_the_config():
    options = {
        'reliability.non_finite.max_skips': 3,
        'reliability.divergence': None,
        'reliability.dry_run': None,
        'reliability.teacher_metric': None,
    }
    cfg = config('shapes/g2sd_vits_generic.py', **options)
    make_reliable(cfg)
    hook = next(hook for hook in cfg.custom_hooks if hook.type == 'NonFiniteHook')
    assert hook.max_skips == 3
    assert not {'DivergenceHook', *_TRIES} & set(types(cfg))


def test_an_unknown_alarm_is_refused():
    with pytest.raises(UserError, match=words('reliability has finite', 'non_finite, divergence')):
        make_reliable(stock(reliability=dict(finite=1)))


# find_start ---------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path) -> Path:
    hub = dict(log_scalars={}, runtime_info={}, resumed_keys={})
    for number in (1, 2):
        content = dict(
            state_dict={'a': torch.zeros(300)}, optimizer={}, message_hub=hub,
            meta=dict(epoch=number, iter=number),
        )  # fmt: skip
        torch.save(content, tmp_path / f'epoch_{number}.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    return tmp_path


def started(run: Path, resume: str | None, **changes) -> Config:
    cfg = stock(load_from='start.pth', **changes)
    cfg.work_dir = str(run)
    find_start(cfg, resume)
    return cfg


def notes(cfg: Config) -> str:
    (hook,) = (hook for hook in cfg.custom_hooks if hook['type'] == 'ResumeHook')
    return ' '.join(hook['notes'])


def test_a_new_run_starts_from_its_own_weights(run):
    cfg = started(run, None)
    assert (cfg.get('resume'), cfg.load_from, notes(cfg)) == (None, 'start.pth', '')


def test_the_newest_is_found(run):
    cfg = started(run, 'auto')
    assert (cfg.resume, cfg.load_from) == (True, str(run / 'epoch_2.pth'))


def test_a_truncated_newest_is_passed_over_with_a_line(run):
    os.truncate(run / 'epoch_2.pth', 100)
    cfg = started(run, 'auto')
    assert cfg.load_from == str(run / 'epoch_1.pth')
    assert 'epoch_2.pth is passed over: it is truncated' in notes(cfg)


def test_with_nothing_to_go_on_from_it_starts_as_a_new_run(tmp_path):
    cfg = started(tmp_path, 'auto')
    assert (cfg.get('resume'), cfg.load_from) == (None, 'start.pth')
    assert 'no checkpoint in' in notes(cfg)


def test_a_named_file_has_to_be_whole(run):
    path = run / 'epoch_1.pth'
    assert started(run, str(path)).load_from == str(path)
    os.truncate(path, 100)
    with pytest.raises(CheckpointError, match=words('cannot go on from', 'truncated', '--resume')):
        started(run, str(path))
    with pytest.raises(FileNotFoundError, match=r'no checkpoint no\.pth to go on from'):
        started(run, 'no.pth')


def test_a_run_that_cannot_go_on_exactly_is_told_so(run):
    assert 'has no SeededSampler, SeededDataset, StepSeedHook' in notes(started(run, 'auto'))
    cfg = config('shapes/g2sd_vits_upernet.py')
    cfg.work_dir = str(run)
    find_start(cfg, 'auto')
    assert notes(cfg) == ''


def test_a_config_without_a_seed_takes_the_checkpoints(run):
    content = torch.load(run / 'epoch_2.pth')
    torch.save({**content, 'meta': {**content['meta'], 'seed': 7}}, run / 'epoch_2.pth')
    assert started(run, 'auto').randomness.seed == 7
    assert started(run, 'auto', randomness=dict(seed=3)).randomness.seed == 3


def test_weights_are_nothing_to_resume_from(run):
    content = torch.load(run / 'epoch_2.pth')
    content.pop('optimizer')
    torch.save(content, run / 'best.pth')
    with pytest.raises(CheckpointError, match=words('best.pth', 'load_from=FILE')):
        started(run, str(run / 'best.pth'))


def test_rates_change_between_updates_whatever_their_length():
    cfg = config('shapes/g2sd_vits_generic.py', **{'optim_wrapper.accumulative_counts': 3})
    make_reliable(cfg)
    assert cfg.param_scheduler[0].accumulation == 3
    stock_schedule = dict(type='LinearLR', start_factor=0.1)
    for schedule in (stock_schedule, [stock_schedule], None):
        other = stock(param_scheduler=schedule)
        make_reliable(other)
        assert 'accumulation' not in str(other.get('param_scheduler'))


# check_work_dir -----------------------------------------------------------------------------------


def test_the_work_dir_is_made_and_left_empty(tmp_path):
    check_work_dir(str(tmp_path / 'a' / 'b'))
    assert list((tmp_path / 'a' / 'b').iterdir()) == []


def test_a_work_dir_that_is_a_file_is_refused(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match=words('cannot write into', 'file', '--work-dir')):
        check_work_dir(str(tmp_path / 'file' / 'run'))


def test_a_folder_that_refuses_files_is_told_of(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(30, 'Read-only file system')

    monkeypatch.setattr('tempfile.TemporaryFile', refuse)
    with pytest.raises(UserError, match=words('cannot write', 'Read-only file system')):
        check_work_dir(str(tmp_path))


# A metric's rule is the task's, whatever a config inherits ----------------------------------------


def fitted(checkpoint: dict | None = None, **changes) -> tuple[Config, list[str]]:
    cfg = Config(dict(default_hooks=dict(logger=None, checkpoint=checkpoint), **changes))
    return cfg, fit_rules(cfg)


@pytest.mark.parametrize(('names', 'rule', 'right', 'noted'), [
    ('d1', 'less', 'greater', 1),
    ('abs_rel', 'less', 'less', 0),
    ('abs_rel', ['greater'], 'less', 1),
    ('coco/bbox_mAP', None, 'greater', 0),
    ('theirs', 'less', 'less', 0),
    ('theirs', None, None, 0),
    ('auto', 'less', 'less', 0),
    (['abs_rel', 'd1'], 'less', ['less', 'greater'], 1),
    (['abs_rel', 'theirs'], 'greater', ['less', 'greater'], 1),
    (['abs_rel', 'theirs'], None, None, 0),
    (['abs_rel', 'd1', 'd2'], ['less', 'less'], ['less', 'less'], 0),  # mmengine refuses it
    (None, 'less', 'less', 0),
])
def test_the_best_checkpoint_is_the_best(names, rule, right, noted):
    hook = dict(type='CheckpointHook', save_best=names, rule=rule)
    cfg, notes = fitted(hook)
    assert cfg.default_hooks.checkpoint.rule == right
    assert len(notes) == noted
    assert all('default_hooks.checkpoint.rule' in note for note in notes)


def test_stopping_and_schedules_wait_for_the_same():
    stop = dict(type='EarlyStoppingHook', monitor='d1', rule='less')
    schedules = [
        dict(type='ReduceOnPlateauLR', monitor='mIoU'), dict(type='TheirLR', monitor='mIoU'),
    ]
    cfg, notes = fitted(custom_hooks=[stop], param_scheduler=schedules)
    assert cfg.custom_hooks[0].rule == 'greater'
    assert cfg.param_scheduler[0].rule == 'greater'  # mmengine would take less, whatever it is of
    assert 'rule' not in cfg.param_scheduler[1]
    (note,) = notes
    assert 'custom_hooks.0.rule' in note


@pytest.mark.parametrize('path', ['nyu/g2sd_vits_depth.py', 'coco/g2sd_vits_maskrcnn.py'])
def test_configs_of_the_project_say_it_rightly(path):
    cfg = config(path)
    before = cfg.pretty_text
    assert fit_rules(cfg) == []
    assert cfg.pretty_text == before
