"""There is a whole checkpoint at any moment, taken between two updates."""

from __future__ import annotations

import os

import pytest
import torch
from mmengine.fileio import LocalBackend, get_file_backend

from g2sd_mm.checkpoints.integrity import newest_whole
from g2sd_mm.compat.safe_load import load_checkpoint
from g2sd_mm.engine.hooks.saving import WholeCheckpointHook, WholeFileBackend
from g2sd_mm.errors import ConfigError

from ..helpers.runs import Slope, runner
from ..helpers.toys import words


def saving(**arguments) -> dict:
    hook = dict(type='WholeCheckpointHook', interval=1, **arguments)
    return dict(logger=None, checkpoint=hook)


def accumulating(counts: int) -> dict:
    return dict(optimizer=dict(type='SGD', lr=1.0), accumulative_counts=counts)


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.glob('*.pth'))


def test_the_newest_are_kept_and_named(tmp_path):
    runner(tmp_path, Slope(), default_hooks=saving(max_keep_ckpts=1)).train()
    assert names(tmp_path) == ['epoch_2.pth']
    assert newest_whole(tmp_path) == (tmp_path / 'epoch_2.pth', [])
    assert not list(tmp_path.glob('.*'))


def test_the_old_one_goes_after_the_new_one_is_there(tmp_path, monkeypatch):
    seen, remove = [], LocalBackend.remove

    def spy(backend, path):
        pointer = (tmp_path / 'last_checkpoint').read_text()
        seen.append((os.path.basename(path), os.path.basename(pointer), names(tmp_path)))
        remove(backend, path)

    monkeypatch.setattr(LocalBackend, 'remove', spy)
    runner(tmp_path, Slope(), default_hooks=saving(max_keep_ckpts=1)).train()
    assert seen == [('epoch_1.pth', 'epoch_2.pth', ['epoch_1.pth', 'epoch_2.pth'])]


def test_what_a_killed_process_did_not_remove_goes_at_the_next_start(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(LocalBackend, 'remove', lambda backend, path: None)  # killed before
        runner(tmp_path, Slope(), default_hooks=saving(max_keep_ckpts=1)).train()
    (tmp_path / '.epoch_3.pth.99.tmp').write_text('half')
    assert names(tmp_path) == ['epoch_1.pth', 'epoch_2.pth']
    runner(
        tmp_path, Slope(), default_hooks=saving(max_keep_ckpts=1), resume=True,
        load_from=str(tmp_path / 'epoch_2.pth'),
    ).train()
    assert names(tmp_path) == ['epoch_2.pth']
    assert not list(tmp_path.glob('.*'))


def test_what_was_left_goes_wherever_a_run_writes(tmp_path):
    work_dir = tmp_path / 'run'
    run = runner(work_dir, Slope(), default_hooks=saving(out_dir=str(tmp_path / 'elsewhere')))
    run.cfg.model = dict(type='SeveralStudents', students=dict(small={}))
    left = [
        folder / '.weights.pth.99.tmp'
        for folder in (work_dir, work_dir / 'small', tmp_path / 'elsewhere' / 'run')
    ]
    for file in left:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('half')
    run.train()
    assert not any(file.exists() for file in left)


def test_all_are_kept_without_a_limit(tmp_path):
    runner(tmp_path, Slope(), default_hooks=saving()).train()
    assert names(tmp_path) == ['epoch_1.pth', 'epoch_2.pth']


def test_iterations_are_saved_alike(tmp_path):
    hooks = saving(by_epoch=False, max_keep_ckpts=2)
    hooks['checkpoint']['interval'] = 2
    runner(
        tmp_path, Slope(), default_hooks=hooks, train_cfg=dict(by_epoch=False, max_iters=7)
    ).train()
    assert names(tmp_path) == ['iter_6.pth', 'iter_7.pth']


def test_inside_an_update_saving_waits_for_its_end(tmp_path):
    """Four steps an epoch, three to an update: the first epoch ends in the second update."""
    runner(
        tmp_path, Slope(), default_hooks=saving(), optim_wrapper=accumulating(3),
        train_cfg=dict(by_epoch=True, max_epochs=3),
    ).train()
    places = {}
    for name in names(tmp_path):
        saved = load_checkpoint(tmp_path / name)
        meta = saved['meta']
        places[name] = (meta['epoch'], meta['iter'], saved['state_dict']['weight'].item())
    assert places == {
        'epoch_1.pth': (1, 6, -2.0), 'epoch_2.pth': (2, 9, -3.0), 'epoch_3.pth': (3, 12, -4.0),
    }


def test_the_end_of_the_run_ends_an_update(tmp_path):
    runner(tmp_path, Slope(), default_hooks=saving(), optim_wrapper=accumulating(3)).train()
    assert load_checkpoint(tmp_path / 'epoch_2.pth')['meta']['iter'] == 8


def test_a_full_disk_leaves_the_checkpoints_of_before(tmp_path, monkeypatch):
    replace = os.replace

    def full(source, target):
        if str(target).endswith('epoch_2.pth'):
            raise OSError(28, 'No space left on device', str(target))
        replace(source, target)

    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(OSError, match='No space left'):
        runner(tmp_path, Slope(), default_hooks=saving(max_keep_ckpts=1)).train()
    assert newest_whole(tmp_path) == (tmp_path / 'epoch_1.pth', [])
    assert names(tmp_path) == ['epoch_1.pth']


def test_a_better_best_takes_the_place_of_the_last_one(tmp_path, monkeypatch):
    run = runner(tmp_path, Slope(), default_hooks=saving(save_best='top', rule='greater'))
    run.train()
    (hook,) = (hook for hook in run.hooks if isinstance(hook, WholeCheckpointHook))
    removed = []
    remove = LocalBackend.remove

    def spy(backend, path):
        removed.append((os.path.basename(path), [n for n in names(tmp_path) if 'best' in n]))
        remove(backend, path)

    monkeypatch.setattr(LocalBackend, 'remove', spy)
    for epoch, top in ((2, 1.0), (3, 3.0), (4, 2.0)):
        run.train_loop._epoch = epoch
        hook.after_val_epoch(run, {'top': top})
    assert [n for n in names(tmp_path) if 'best' in n] == ['best_top_epoch_3.pth']
    assert removed == [
        ('best_top_epoch_2.pth', ['best_top_epoch_2.pth', 'best_top_epoch_3.pth'])
    ]


@pytest.mark.parametrize(('by_epoch', 'step', 'name'), [
    (True, 4, 'epoch_1.pth'), (True, 6, 'epoch_1_iter_6.pth'), (False, 6, 'iter_6.pth'),
])
def test_saving_at_once_names_the_place(tmp_path, by_epoch, step, name):
    run = runner(tmp_path, Slope(), default_hooks=saving(by_epoch=by_epoch, max_keep_ckpts=1))
    run.train()
    (hook,) = (hook for hook in run.hooks if isinstance(hook, WholeCheckpointHook))
    assert hook.save_now(run, 1, step) == tmp_path / name
    assert names(tmp_path) == [name]
    assert load_checkpoint(tmp_path / name)['meta']['iter'] == step
    assert torch.equal(load_checkpoint(tmp_path / name)['state_dict']['weight'], torch.tensor(-8.0))


def test_an_object_store_keeps_its_own_ways():
    assert WholeCheckpointHook(out_dir='s3://bucket').backend_args is None
    assert WholeCheckpointHook(backend_args=dict(backend='petrel')).backend_args == {
        'backend': 'petrel'
    }
    assert WholeCheckpointHook().backend_args == {'backend': 'whole_file'}


def test_a_misspelt_argument_is_not_found_out_when_the_first_checkpoint_is_saved():
    with pytest.raises(ConfigError, match=words('checkpoint', 'intervall', 'interval,')):
        WholeCheckpointHook(intervall=3)
    assert WholeCheckpointHook(meta={}).args  # which mmengine hands on


@pytest.fixture
def backend():
    made = get_file_backend(backend_args=dict(backend='whole_file'))
    assert isinstance(made, WholeFileBackend)
    return made


def test_bytes_are_written_into_a_new_folder(backend, tmp_path):
    backend.put(b'bytes', str(tmp_path / 'a' / 'b.pth'))
    assert (tmp_path / 'a' / 'b.pth').read_bytes() == b'bytes'


def test_a_failed_write_leaves_the_old_file(backend, tmp_path, monkeypatch):
    path = str(tmp_path / 'a.pth')
    backend.put(b'old', path)

    def fail(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'replace', fail)
    with pytest.raises(OSError, match='No space left'):
        backend.put(b'new', path)
    assert os.listdir(tmp_path) == ['a.pth']
    assert backend.get(path) == b'old'


def test_removals_wait_for_what_replaces_them(backend, tmp_path):
    old, new = str(tmp_path / 'old.pth'), str(tmp_path / 'new.pth')
    backend.put(b'old', old)
    with backend.removing_last():
        backend.remove(old)
        assert os.path.exists(old)
        backend.put(b'new', new)
    assert os.listdir(tmp_path) == ['new.pth']
    backend.remove(new)
    assert os.listdir(tmp_path) == []


def test_what_could_not_be_replaced_is_not_removed(backend, tmp_path):
    old = str(tmp_path / 'old.pth')
    backend.put(b'old', old)
    with pytest.raises(OSError, match='full'), backend.removing_last():
        backend.remove(old)
        raise OSError('full')
    assert backend.get(old) == b'old'


def test_a_file_that_was_written_anew_is_not_removed(backend, tmp_path):
    path = str(tmp_path / 'best.pth')
    backend.put(b'old', path)
    with backend.removing_last():
        backend.remove(path)
        backend.put(b'new', path)
    assert backend.get(path) == b'new'
