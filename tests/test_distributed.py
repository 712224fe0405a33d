"""Two processes train as one does with the same global batch: same losses, same weights."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper

from g2sd_mm.checkpoints import read_weights
from g2sd_mm.config.load import load_config
from g2sd_mm.engine.sharding import ShardedDataParallel
from g2sd_mm.models.mae import MAEPretraining
from g2sd_mm.runs.train import train

from .helpers import imagenet, loss_log  # noqa: F401
from .helpers.toys import (
    ROOT,
    STUDENT,
    autoencoder,
    classifier,
    free_port,
    images,
    run_python,
    save,
)

STEPS, BATCH = 6, 4  # one pass over 24 images
TOLERANCE = 1e-4


STAGES = pytest.mark.parametrize('stage', ['g2sd_vits_generic', 'g2sd_vits_cls'])


@pytest.fixture(scope='module')
def runs(image_data, tmp_path_factory) -> Path:
    """A folder of runs that has both teachers."""
    folder = tmp_path_factory.mktemp('runs')
    mae = autoencoder(dict(arch='demo-teacher', decoder='dec64d2b', img_size=32))
    for name, model in (('vitb_mae', mae), ('vitb_cls', classifier(arch='demo-teacher', dim=128))):
        (folder / name).mkdir()
        save(folder / name / 'weights.pth', model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('G2SD_DATA', str(image_data))
        yield folder


def options(stage: str, runs: Path, batch: int) -> dict[str, Any]:
    """One pass at a rate that moves the weights, without randomness that belongs to a rank."""
    common = {
        'train_dataloader.batch_size': batch,
        'train_cfg.max_epochs': 1,
        'train_cfg.val_interval': 5,
        'param_scheduler.0.warmup': 0,
        'optim_wrapper.optimizer.lr': 1e-3,
        'custom_hooks': [
            dict(type='StepSeedHook'), dict(type='WeightsExportHook'), dict(type='LossLog')
        ],
    }
    if stage == 'g2sd_vits_generic':
        common.pop('train_cfg.val_interval')
        return imagenet.stage1(f'{runs}/vitb_mae/weights.pth', **common)
    single = {'model.backbone.init_cfg': None, 'model.train_cfg': {'_delete_': True}}
    return imagenet.stage2(f'{runs}/vitb_cls/weights.pth', **common, **single)


def losses(folder: Path) -> list[float]:
    """Mean over the ranks, step by step."""
    ranks = [json.loads(path.read_text()) for path in sorted(folder.glob('losses_*.json'))]
    return [sum(step) / len(ranks) for step in zip(*ranks, strict=True)]


def check_equal(one: Path, two: Path, steps: int = STEPS) -> None:
    assert len(list(two.glob('losses_*.json'))) == 2
    single, both = losses(one), losses(two)
    assert len(single) == steps
    assert single == pytest.approx(both, abs=TOLERANCE)
    assert max(single) - min(single) > 10 * TOLERANCE  # the weights moved
    ours, theirs = (read_weights(folder / 'weights.pth').state for folder in (one, two))
    for name, tensor in ours.items():
        assert torch.allclose(tensor, theirs[name], atol=TOLERANCE), name


def _rank(rank: int, port: int, name: str, arguments: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2',
        MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port),
    )
    train(imagenet.path(name), launcher='pytorch', **arguments)
    torch.distributed.destroy_process_group()


def two_processes(stage: str, runs: Path, folder: Path, **arguments: Any) -> None:
    """Train on half the batch each; forked from this process: the imports are there already."""
    arguments = dict(work_dir=str(folder), runs=str(runs), **arguments)
    context, port = multiprocessing.get_context('fork'), free_port()
    ranks = [
        context.Process(target=_rank, args=(rank, port, stage, arguments)) for rank in range(2)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(120)
    assert [process.exitcode for process in ranks] == [0, 0]


@pytest.fixture(scope='module')
def one_process(runs, tmp_path_factory) -> Callable[[str], Path]:
    """Folder of a stage's run with all of the batch; every stage is run once."""

    @cache
    def trained(stage: str) -> Path:
        folder = tmp_path_factory.mktemp('one')
        train(imagenet.path(stage), options(stage, runs, BATCH), str(folder), runs=str(runs))
        return folder

    return trained


@STAGES
def test_two_processes_train_as_one(runs, one_process, tmp_path, stage):
    one, two = one_process(stage), tmp_path / 'two'
    two_processes(stage, runs, two, options=options(stage, runs, BATCH // 2))
    check_equal(one, two)


def test_two_processes_train_with_nkd(runs, tmp_path):
    """Nothing is learnt from the distillation token there, and every process waits for it."""
    stage = '../ablations/g2sd_vits_cls_nkd'
    two_processes(stage, runs, tmp_path, options=options('g2sd_vits_cls', runs, BATCH // 2))
    assert len(losses(tmp_path)) == STEPS


SHARDED = {
    'model_wrapper_cfg': dict(type='ShardedDataParallel'), 'runner_type': 'ShardedRunner'
}


@STAGES
def test_sharded_processes_train_as_one(runs, one_process, tmp_path, stage):
    """And what they save is what one process saves: each goes on from the other's checkpoint."""
    one, two = one_process(stage), tmp_path / 'two'
    two_processes(stage, runs, two, options={**options(stage, runs, BATCH // 2), **SHARDED})
    check_equal(one, two)
    saved = [torch.load(f / 'epoch_1.pth', weights_only=False) for f in (one, two)]
    assert_equal(*saved)

    more = {'train_cfg.max_epochs': 2}
    train(
        imagenet.path(stage), {**options(stage, runs, BATCH), **more}, str(tmp_path / 'a'),
        resume=str(two / 'epoch_1.pth'), runs=str(runs),
    )
    two_processes(
        stage, runs, tmp_path / 'b', resume=str(one / 'epoch_1.pth'),
        options={**options(stage, runs, BATCH // 2), **SHARDED, **more},
    )
    check_equal(tmp_path / 'a', tmp_path / 'b')


def _accumulate(port: int) -> None:
    os.environ.update(RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    torch.distributed.init_process_group('gloo')
    model = ShardedDataParallel(MAEPretraining(**STUDENT))
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), accumulative_counts=3)
    wrapper.initialize_count_status(model, 0, 6)
    first = next(p for p in model.parameters() if p.requires_grad)
    before, reduced, moved = first.full_tensor().clone(), [], []
    wrapper.step = lambda: reduced.append(first.grad is not None) or OptimWrapper.step(wrapper)
    for _ in range(6):
        model.train_step({'inputs': images(2)}, wrapper)
        moved.append(not torch.equal(first.full_tensor(), before))
        reduced.append(first.grad is not None)
        before = first.full_tensor().clone()
    # gradients become the parameters' with the synchronisation, and the step takes them away
    assert reduced == [False, False, True, False] * 2, reduced
    assert moved == [False, False, True] * 2, moved
    torch.distributed.destroy_process_group()


def test_sharded_gradients_are_synchronised_once_an_update():
    process = multiprocessing.get_context('fork').Process(target=_accumulate, args=(free_port(),))
    process.start()
    process.join(60)
    assert process.exitcode == 0


def assert_equal(one: dict, other: dict) -> None:
    """Training checkpoints: plain whole tensors, the same ones."""
    assert list(one['state_dict']) == list(other['state_dict'])
    moments = one['optimizer']['state'], other['optimizer']['state']
    assert list(moments[0]) == list(moments[1])
    pairs = list(zip(one['state_dict'].items(), other['state_dict'].values(), strict=True))
    for number, state in moments[0].items():
        pairs += list(zip(state.items(), moments[1][number].values(), strict=True))
    for (name, ours), theirs in pairs:
        assert type(ours) is type(theirs) is torch.Tensor, name
        assert torch.allclose(ours, theirs, atol=TOLERANCE), name


@pytest.mark.slow
@STAGES
def test_torchrun_trains_as_one_process(runs, tmp_path, stage):
    """Through ``tools/train.py``, started as people start it."""
    for world, folder in ((1, 'one'), (2, 'two')):
        config = tmp_path / f'{folder}.py'
        cfg = load_config(imagenet.path(stage), options(stage, runs, BATCH // world), str(runs))
        cfg.custom_imports.imports.append('tests.helpers.loss_log')
        cfg.dump(config)
        command = [str(ROOT / 'tools' / 'train.py'), str(config), '--work-dir',
                   str(tmp_path / folder)]
        if world == 2:
            command = ['-m', 'torch.distributed.run', '--nproc_per_node', '2', '--master_port',
                       str(free_port()), *command, '--launcher', 'pytorch']
        done = run_python(*command)
        assert done.returncode == 0, done.stderr[-2000:]
    check_equal(tmp_path / 'one', tmp_path / 'two')
