"""Processes and the launchers that start them."""

from __future__ import annotations

import multiprocessing
import os
from contextlib import nullcontext
from itertools import islice
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.runner.loops import _InfiniteDataloaderIterator
from torch.utils.data import DataLoader

from g2sd_mm.engine.sharding import ShardedRunner
from g2sd_mm.errors import Preempted, UserError
from g2sd_mm.runs.processes import (
    build_runner,
    end_workers,
    leaving_processes,
    name_rank_by_slurm,
    start_processes,
)

from ..helpers.toys import config, words

SLURM = {
    'SLURM_PROCID': '3', 'SLURM_NTASKS': '4', 'SLURM_LOCALID': '1', 'SLURM_NODELIST': 'node[07-08]',
    'SLURM_JOB_ID': '6041', 'SLURM_STEP_ID': '2',
}
TORCH = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')


@pytest.fixture
def started(monkeypatch):
    """Process groups that were asked for, on a machine without GPUs."""
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    def join(backend, timeout):
        calls.append(backend)
        assert timeout.total_seconds() == 1800

    monkeypatch.setattr(torch.distributed, 'init_process_group', join)
    return calls


@pytest.fixture
def slurm(monkeypatch, tmp_path):
    """The variables of one of Slurm's tasks, and an ``scontrol`` that knows two nodes."""
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    for name in TORCH:
        monkeypatch.setenv(name, '')  # so that what is set in the test is taken back after it
        monkeypatch.delenv(name)
    scontrol = tmp_path / 'scontrol'
    scontrol.write_text('#!/bin/sh\n[ "$*" = "show hostnames node[07-08]" ]\necho node07\necho x\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')


def test_one_process_needs_no_group(started):
    cfg = config('imagenet/vitb_mae.py')
    start_processes(cfg, 'none')
    assert cfg.launcher == 'none'
    assert started == []


def test_cpus_are_joined_over_gloo(started):
    cfg = config('imagenet/vitb_mae.py')
    start_processes(cfg, 'pytorch')
    assert started == ['gloo']
    assert cfg.model_wrapper_cfg.device_ids is None


def test_a_config_keeps_its_own_wrapper(started):
    cfg = config('imagenet/vitb_mae.py', model_wrapper_cfg=dict(type='ShardedDataParallel'))
    start_processes(cfg, 'pytorch')
    assert cfg.model_wrapper_cfg == dict(type='ShardedDataParallel')


def test_mpi_needs_gpus(started):
    with pytest.raises(UserError, match=words('--launcher mpi needs GPUs', '--launcher pytorch')):
        start_processes(config('imagenet/vitb_mae.py'), 'mpi')


def test_tasks_of_slurm_find_each_other(started, slurm):
    start_processes(config('imagenet/vitb_mae.py'), 'slurm')
    assert started == ['gloo']
    assert [os.environ[name] for name in TORCH] == ['3', '4', '1', 'node07', '29543']


def test_jobs_of_slurm_that_share_a_node_have_a_port_each(started, slurm, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)  # mmengine joins then
    start_processes(config('imagenet/vitb_mae.py'), 'slurm')
    assert os.environ['MASTER_PORT'] == '29543' and not started


def test_address_and_port_can_be_given(started, slurm, monkeypatch):
    monkeypatch.setenv('MASTER_ADDR', 'elsewhere')
    monkeypatch.setenv('MASTER_PORT', '1234')
    name_rank_by_slurm()
    assert (os.environ['MASTER_ADDR'], os.environ['MASTER_PORT']) == ('elsewhere', '1234')


def test_outside_of_slurm_it_is_said_what_to_do(started, slurm, monkeypatch):
    monkeypatch.delenv('SLURM_NTASKS')
    message = words('SLURM_NTASKS is not set', 'tools/slurm_train.sh')
    with pytest.raises(UserError, match=message):
        start_processes(config('imagenet/vitb_mae.py'), 'slurm')


@pytest.mark.parametrize(('end', 'left'), [
    (None, True), (Preempted('saved'), True), (RuntimeError('a rank fails'), False),
])
def test_the_group_is_left_unless_a_process_fails(tmp_path, end, left):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/meet', rank=0, world_size=1
    )
    try:
        with nullcontext() if end is None else pytest.raises(type(end)), leaving_processes():
            if end is not None:
                raise end
        assert torch.distributed.is_initialized() is not left
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    with leaving_processes():
        pass  # there is none


def test_a_config_may_name_its_runner(monkeypatch):
    made = []

    def from_cfg(cls: type, cfg: Config) -> SimpleNamespace:
        made.append(cls)
        return SimpleNamespace(cfg=cfg)

    monkeypatch.setattr(Runner, 'from_cfg', classmethod(from_cfg))
    for verbose in (True, False):
        build_runner(config('imagenet/vitb_mae.py'), verbose)
        build_runner(config('imagenet/vitb_mae.py', runner_type='ShardedRunner'), verbose)
    assert made[:2] == [Runner, ShardedRunner]
    assert issubclass(made[2], Runner) and issubclass(made[3], ShardedRunner)


def loop_of(iterations: bool, persistent: bool) -> SimpleNamespace:
    """A loop whose loader has begun to read in processes of its own."""
    loader = DataLoader(list(range(8)), 2, num_workers=2, persistent_workers=persistent)
    loop = SimpleNamespace(dataloader=loader)
    if iterations:
        loop.dataloader_iterator = _InfiniteDataloaderIterator(loader)
        next(loop.dataloader_iterator)
    else:
        next(iter(loader))
    return loop


@pytest.mark.parametrize(('iterations', 'persistent'), [(False, True), (True, True), (True, False)])
def test_a_runner_that_is_done_leaves_no_process(iterations, persistent):
    loop = loop_of(iterations, persistent)
    assert len(multiprocessing.active_children()) == 2
    end_workers(SimpleNamespace(_train_loop=loop, _val_loop=None, _test_loop=dict(type='TestLoop')))
    assert multiprocessing.active_children() == []
    # and what comes next is a whole epoch
    again = loop.dataloader_iterator if iterations else loop.dataloader
    assert [list(batch) for batch in islice(again, 4)] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert getattr(again, '_epoch', 0) == 0  # which is not one that follows on what was left
