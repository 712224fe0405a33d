"""A resumed checkpoint is data: none of its text is run, none of its paths is followed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from mmengine.hooks import CheckpointHook
from mmengine.runner import FlexibleRunner

from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.compat.resume_data import CheckpointFolder, own_files_only
from g2sd_mm.compat.safe_load import load_checkpoint
from g2sd_mm.engine.hooks.access import resumed_here

from ..helpers.runs import Slope, loader, runner

BEST = 'best_top_epoch_{}.pth'
HOOKS = ('WholeCheckpointHook', 'CheckpointHook')


def start(folder, kind='WholeCheckpointHook', resume=None, epochs=2, **hook):
    """A run that keeps the best ``top``, trained; ``resume`` is the file that it goes on from."""
    hook = dict(type=kind, interval=1, save_best='top', rule='greater', **hook)
    run = runner(
        folder,
        Slope(),
        default_hooks=dict(logger=None, checkpoint=hook),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        **(dict(resume=True, load_from=str(resume)) if resume else {}),
    )
    run.train()
    return run


def validated(run, **metrics):
    """The figures of a validation, as they come at the end of an epoch."""
    (hook,) = (hook for hook in run.hooks if isinstance(hook, CheckpointHook))
    hook.after_val_epoch(run, metrics)


def changed(path, change):
    """Rewrite a checkpoint after ``change(content)``."""
    content = load_checkpoint(path)
    change(content)
    torch.save(content, path)


@pytest.fixture
def first(tmp_path):
    """Work dir A of a run of two epochs with a best checkpoint."""
    run = start(tmp_path / 'A')
    validated(run, top=1.0)
    assert (tmp_path / 'A' / BEST.format(2)).is_file()
    return tmp_path / 'A'


@pytest.mark.parametrize('kind', HOOKS)
def test_the_config_text_of_a_checkpoint_is_not_run(first, tmp_path, kind):
    victim = tmp_path / 'victim'
    code = f'import pathlib\npathlib.Path({str(victim)!r}).write_text("run")\nlr = 1'
    changed(first / 'epoch_2.pth', lambda c: c['meta'].update(config=code))
    run = start(first, kind, first / 'epoch_2.pth', epochs=3)
    assert run.epoch == 3
    assert not victim.exists()


def test_nor_by_mmengines_other_runner(first, tmp_path):
    victim = tmp_path / 'victim'
    code = f'import pathlib\npathlib.Path({str(victim)!r}).write_text("run")\nlr = 1'
    changed(first / 'epoch_2.pth', lambda c: c['meta'].update(config=code))
    run = FlexibleRunner(
        Slope(),
        work_dir=str(tmp_path / 'B'),
        train_dataloader=loader(),
        train_cfg=dict(by_epoch=True, max_epochs=3),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.0)),
        load_from=str(first / 'epoch_2.pth'),
        resume=True,
        log_level='ERROR',
        experiment_name='flexible',
    )
    run.train()
    assert run.epoch == 3 and (tmp_path / 'B' / 'epoch_3.pth').is_file()
    assert not victim.exists()


@pytest.mark.parametrize('kind', HOOKS)
@pytest.mark.parametrize('name', ['treasure', BEST.format(1), '../A/epoch_1.pth'])
def test_a_best_checkpoint_elsewhere_is_neither_removed_nor_believed(first, tmp_path, kind, name):
    treasure = (tmp_path / 'B' / name).resolve()
    if not treasure.exists():
        treasure.mkdir(parents=True)
        (treasure / 'file').write_text('precious')

    def lie(content):
        content['message_hub']['runtime_info'].update(best_ckpt=str(treasure), best_score=-1.0)

    changed(first / 'epoch_2.pth', lie)
    run = start(first, kind, first / 'epoch_2.pth', epochs=3)
    validated(run, top=2.0)
    assert treasure.exists()
    assert (first / BEST.format(3)).is_file()


@pytest.mark.parametrize('kind', HOOKS)
def test_steps_to_remove_are_numbers(first, tmp_path, kind):
    victim = tmp_path / 'victim.pth'
    victim.write_text('precious')
    (first / 'folder').mkdir()
    (first / 'folder' / 'file').write_text('precious')

    def lie(content):
        steps = ['../victim.pth', 'folder', True, None, 1, 2]
        content['message_hub']['runtime_info']['keep_ckpt_ids'] = steps

    changed(first / 'epoch_2.pth', lie)
    start(first, kind, first / 'epoch_2.pth', epochs=3, max_keep_ckpts=1, filename_tmpl='{}')
    assert victim.is_file()
    assert (first / 'folder' / 'file').is_file()


@pytest.mark.parametrize('kind', HOOKS)
@pytest.mark.parametrize('how', [shutil.copytree, shutil.move])
def test_a_work_dir_elsewhere_has_its_own_best(first, tmp_path, kind, how):
    copy = tmp_path / 'B'
    how(first, copy)
    run = start(copy, kind, copy / 'epoch_2.pth', epochs=3)
    validated(run, top=2.0)
    assert [path.name for path in copy.glob('best_*')] == [BEST.format(3)]
    if how is shutil.copytree:
        assert (first / BEST.format(2)).is_file()
    worse = start(copy, kind, copy / 'epoch_3.pth', epochs=4)
    validated(worse, top=1.5)  # than the best of the copy, which the checkpoint knows
    assert [path.name for path in copy.glob('best_*')] == [BEST.format(3)]


@pytest.mark.parametrize('kind', HOOKS)
def test_a_run_that_goes_on_elsewhere_begins_its_own_best(first, tmp_path, kind):
    before = sorted(path.name for path in first.glob('*.pth'))
    other = tmp_path / 'B'
    run = start(other, kind, first / 'epoch_2.pth', epochs=3, max_keep_ckpts=1)
    validated(run, top=0.5)
    assert sorted(path.name for path in other.glob('*.pth')) == [BEST.format(3), 'epoch_3.pth']
    assert sorted(path.name for path in first.glob('*.pth')) == before
    said = load_checkpoint(other / 'epoch_3.pth')['message_hub']['runtime_info']
    assert said['best_ckpt'] == str(other / BEST.format(3))


def test_checkpoints_of_another_run_in_the_folder_are_kept(first, tmp_path):
    other = tmp_path / 'B'
    start(other)
    start(other, resume=first / 'epoch_2.pth', epochs=3, max_keep_ckpts=1)
    names = sorted(path.name for path in other.glob('epoch_*'))
    assert names == ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth']


def test_it_is_known_whose_checkpoint_it_was(first, tmp_path):
    assert resumed_here(start(first, resume=first / 'epoch_2.pth', epochs=3))
    assert not resumed_here(start(tmp_path / 'B', resume=first / 'epoch_2.pth', epochs=3))
    assert not resumed_here(start(tmp_path / 'C', epochs=1))
    run = start(tmp_path / 'D', epochs=1, out_dir=str(tmp_path / 'big'))
    file = tmp_path / 'big' / 'D' / 'epoch_1.pth'
    assert file.is_file() and not resumed_here(run)
    assert resumed_here(start(tmp_path / 'D', resume=file, out_dir=str(tmp_path / 'big')))


@pytest.mark.parametrize(('path', 'value'), [
    ('meta', None), ('meta.epoch', '2'), ('meta.iter', -1), ('meta.seed', 'x'),
    ('message_hub', []), ('message_hub.runtime_info', None),
])  # fmt: skip
def test_what_is_no_training_checkpoint_is_refused(first, path, value):
    def spoil(content):
        *parents, last = path.split('.')
        for parent in parents:
            content = content[parent]
        content[last] = value

    changed(first / 'epoch_2.pth', spoil)
    with pytest.raises(CheckpointError, match=r'epoch_2\.pth'):
        start(first, resume=first / 'epoch_2.pth', epochs=3)


@pytest.mark.parametrize(('said', 'found'), [
    ('best_top_epoch_1.pth', True), ('/elsewhere/best_top_epoch_1.pth', True),
    ('best_other_epoch_1.pth', False), ('epoch_1.pth', False), ('folder', False), ('..', False),
    ('best_top_epoch_1.pth/..', False), (7, False), (None, False),
])  # fmt: skip
def test_names_are_those_that_the_run_gives(tmp_path, said, found):
    for name in ('best_top_epoch_1.pth', 'best_other_epoch_1.pth', 'epoch_1.pth'):
        (tmp_path / name).touch()
    (tmp_path / 'folder').mkdir()
    folder = CheckpointFolder(str(tmp_path), 'epoch_{}.pth', ('top',))
    own = str(tmp_path / 'best_top_epoch_1.pth') if found else None
    assert folder.own(said, 'top') == own


def test_each_of_several_metrics_has_its_best(tmp_path):
    for name in ('best_a_b_epoch_1.pth', 'best_c_epoch_2.pth'):
        (tmp_path / name).touch()
    folder = CheckpointFolder(str(tmp_path), 'epoch_{}.pth', ('a/b', 'c'))
    info = {
        'best_ckpt_a/b': '/old/best_a_b_epoch_1.pth', 'best_score_a/b': 1.0,
        'best_ckpt_c': '/old/best_a_b_epoch_1.pth', 'best_score_c': float('nan'),
        'best_ckpt': '/old/best_c_epoch_2.pth', 'best_score': 3.0, 'epoch': 1,
    }  # fmt: skip
    lines = own_files_only(info, folder, str(tmp_path / 'epoch_2.pth'))
    assert info == {
        'best_ckpt_a/b': str(Path(tmp_path, 'best_a_b_epoch_1.pth')), 'best_score_a/b': 1.0,
        'epoch': 1, 'keep_ckpt_ids': [],
    }  # fmt: skip
    assert len(lines) == 2
