"""``--resume`` through the functions of the commands, with something changed in between."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.checkpoints.integrity import newest_whole
from g2sd_mm.checkpoints.record import read_sidecar
from g2sd_mm.compat.safe_load import load_checkpoint
from g2sd_mm.errors import UserError
from g2sd_mm.runs import work_dir
from g2sd_mm.runs.failures import explain
from g2sd_mm.runs.train import train

from ..helpers import imagenet
from ..helpers.toys import words

CONFIG = imagenet.path('vits_scratch_cls')


def options(**changes) -> dict:
    return imagenet.plain('demo-student', **{'log_level': 'INFO', **changes})


@pytest.fixture(scope='module')
def first(image_data, tmp_path_factory) -> Path:
    """Work dir of a run that ended after two epochs of four steps of six images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('G2SD_DATA', str(image_data))
        folder = tmp_path_factory.mktemp('runs') / 'first'
        train(CONFIG, options(), str(folder))
        yield folder


@pytest.fixture
def copied(first, tmp_path) -> Path:
    return Path(shutil.copytree(first, tmp_path / 'copy'))


def last(folder: Path) -> dict:
    return load_checkpoint(newest_whole(folder)[0])


def log(folder: Path) -> str:
    return '\n'.join(path.read_text() for path in sorted(folder.glob('*/*.log')))


def test_another_batch_trains_the_epochs_that_are_left(first, tmp_path):
    changed = options(**{'train_dataloader.batch_size': 12, 'train_cfg.max_epochs': 4})
    train(CONFIG, changed, str(tmp_path / 'b'), resume=str(first / 'epoch_1.pth'))
    before, after = load_checkpoint(first / 'epoch_1.pth'), last(tmp_path / 'b')
    assert (after['meta']['epoch'], after['meta']['iter']) == (4, 8)
    record = after['meta']['position']
    assert (record['batch'], record['updates'], record['images']) == (12, 4 + 6, 24 + 72)
    name = next(iter(before['state_dict']))
    assert not torch.equal(before['state_dict'][name], after['state_dict'][name])
    train(CONFIG, changed, str(tmp_path / 'always'))
    rates = [
        [group['lr'] for group in last(folder)['optimizer']['param_groups']]
        for folder in (tmp_path / 'b', tmp_path / 'always')
    ]
    assert rates[0] == rates[1]
    said = log(tmp_path / 'b')
    for part in ('batch_size): 6, now 12', 'max_epochs: 2, now 4', '3 of 4 epochs are left'):
        assert part in said


def test_the_rate_is_scaled_on_a_resumed_run(first, tmp_path):
    changed = options(**{'train_dataloader.batch_size': 3, 'auto_scale_lr.base_batch_size': 6})
    train(CONFIG, changed, str(tmp_path), resume=str(first / 'epoch_1.pth'), auto_scale_lr=True)
    whole, half = last(first)['optimizer'], last(tmp_path)['optimizer']
    for one, two in zip(whole['param_groups'], half['param_groups'], strict=True):
        assert two['initial_lr'] == one['initial_lr'] / 2
    assert 'base learning rate' in log(tmp_path)


@pytest.mark.parametrize('scaled', [False, True])
def test_the_advice_of_a_run_out_of_memory_works(first, tmp_path, scaled):
    from mmengine.config import Config

    cfg = Config.fromfile(next(first.glob('*.py')))
    base = {'auto_scale_lr.base_batch_size': 6}
    if scaled:
        cfg.merge_from_dict({**base, 'auto_scale_lr.enable': True})
    advice = explain(MemoryError(), cfg).partition('--cfg-options ')[2].partition(',')[0]
    given = {name: float(value) for name, _, value in (w.partition('=') for w in advice.split())}
    given['train_dataloader.batch_size'] = int(given['train_dataloader.batch_size'])
    train(CONFIG, options(**base, **given), str(tmp_path), resume=str(first / 'epoch_1.pth'),
          auto_scale_lr=scaled)
    whole, half = last(first)['optimizer'], last(tmp_path)['optimizer']
    rates = [state['param_groups'][0]['initial_lr'] for state in (whole, half)]
    assert rates[1] == pytest.approx(rates[0] / 2)
    assert last(tmp_path)['meta']['iter'] == 16


def test_a_run_in_a_copied_work_dir_leaves_the_other_alone(first, copied):
    before = {path: path.read_bytes() for path in first.rglob('*') if path.is_file()}
    train(CONFIG, options(**{'train_cfg.max_epochs': 3}), str(copied), resume='auto')
    assert {path: path.read_bytes() for path in first.rglob('*') if path.is_file()} == before
    assert last(copied)['meta']['epoch'] == 3


def test_the_config_that_a_run_writes_resumes_it_and_repeats_it(first, tmp_path):
    a, b, c = (tmp_path / name for name in 'abc')
    train(CONFIG, options(load_from=str(first / 'weights.pth')), str(a))
    named = {'experiment_name': 'b'}  # else two runs of one second have one log
    train(str(a / 'vits_scratch_cls.py'), named, str(b), resume=str(a / 'epoch_1.pth'))
    train(str(b / 'vits_scratch_cls.py'), {'work_dir': str(c), 'experiment_name': 'c'})
    states = [last(folder) for folder in (a, b, c)]
    assert [state['meta']['position']['updates'] for state in states] == [8, 8, 8]
    for state in states[1:]:
        for name, value in states[0]['state_dict'].items():
            assert torch.equal(value, state['state_dict'][name])
    (log_c,) = c.glob('*/vis_data/scalars.json')
    assert sum('"loss"' in line for line in log_c.read_text().splitlines()) == 8


def test_a_finished_run_can_be_resumed_again_and_again(copied):
    before = last(copied)['state_dict']
    train(CONFIG, options(), str(copied), resume='auto')
    after = last(copied)['state_dict']
    assert all(torch.equal(value, before[name]) for name, value in after.items())


def test_a_run_that_ends_without_a_further_step_knows_the_size_of_training(copied):
    """It was killed in its last validation, which has images of another size."""
    other = options(**{'val_dataloader.dataset.pipeline.2.crop_size': 24})
    train(CONFIG, other, str(copied), resume='auto')
    for name in ('weights.pth', 'best_weights.pth'):
        assert read_sidecar(copied / name)['inputs']['size'] == [32, 32]
    assert 'images of 32x32 px and validation images are 24x24 px' in log(copied)


@pytest.mark.parametrize(('changes', 'error', 'parts'), [
    ({'train_cfg.max_epochs': 1, 'param_scheduler.0.warmup': 0}, UserError,
     ('nothing is left', 'train_cfg.max_epochs')),
    ({'optim_wrapper.optimizer': dict(type='SGD', lr=0.1, _delete_=True),
      'optim_wrapper.constructor': 'DefaultOptimWrapperConstructor'},
     CheckpointError, ('SGD', 'load_from')),
])
def test_what_cannot_be_resumed_is_refused_before_the_first_step(
    copied, changes, error, parts
):
    files = set(copied.glob('*.pth'))
    with pytest.raises(error, match=words(*parts)):
        train(CONFIG, options(**changes), str(copied), resume='auto')
    assert set(copied.glob('*.pth')) == files


@pytest.mark.parametrize('name', ['weights.pth', 'best_weights.pth'])
def test_weights_are_no_checkpoint_to_resume_from(first, tmp_path, name):
    with pytest.raises(CheckpointError, match=words(name, 'load_from')):
        train(CONFIG, options(), str(tmp_path), resume=str(first / name))


def test_a_work_dir_has_one_run_at_a_time(first, tmp_path, monkeypatch):
    monkeypatch.setattr(work_dir, 'WAIT', 0.1)
    refused = pytest.raises(UserError, match=words('another run', str(tmp_path), '--work-dir'))
    with FileLock(tmp_path / work_dir.NAME), refused:
        train(CONFIG, options(), str(tmp_path), seed=1)
    assert [path.name for path in tmp_path.iterdir()] == [work_dir.NAME]
