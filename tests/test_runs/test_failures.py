"""What ends a run is told in one line: the cause, the cure, and where the run stands."""

from __future__ import annotations

import errno

import pytest
import torch
from mmengine.config import Config

from g2sd_mm.errors import RunError, UserError
from g2sd_mm.runs import failures
from g2sd_mm.runs.failures import explained

GPU = torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB')
CPU = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:113] . DefaultCPUAllocator: can't allocate memory: you tried"
)
KILLED = RuntimeError('DataLoader worker (pid 17) is killed by signal: Killed. ')
SHARED = RuntimeError(
    'DataLoader worker (pid(s) 5) exited unexpectedly with: Unable to write to shared memory'
)
KERNEL = RuntimeError(
    'adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation, but you set'
)


def full(number: int = errno.ENOSPC) -> OSError:
    return OSError(number, 'No space left on device', 'runs/x/epoch_2.pth')


def line(tmp_path, error: Exception, batch: int = 8, workers: int = 4) -> str:
    loader = dict(batch_size=batch, num_workers=workers)
    cfg = Config(dict(work_dir=str(tmp_path), train_dataloader=loader))
    with pytest.raises(RunError) as caught, explained(cfg):
        raise error
    assert '\n' not in str(caught.value)
    assert caught.value.__cause__ is error
    return str(caught.value)


def test_a_limit_on_files_is_no_full_disk(tmp_path):
    said = line(tmp_path, full(errno.EFBIG))
    assert said.startswith('runs/x/epoch_2.pth') and 'ulimit -f' in said
    assert 'disk' not in said


@pytest.mark.parametrize(
    ('error', 'parts'),
    [
        (full(), ('the disk is full', 'epoch_2.pth', 'make room')),
        (full(errno.EDQUOT), ('the disk is full',)),
        (full(errno.EROFS), ('epoch_2.pth cannot be written', 'read-only')),
        (GPU, ('out of GPU memory at a batch of 8', 'train_dataloader.batch_size=4')),
        (CPU, ('out of memory at a batch of 8', '--cfg-options', 'train_dataloader.batch_size=4')),
        (MemoryError(), ('out of memory',)),
        (KILLED, ('worker died (signal: Killed)', 'memory', 'num_workers=2', 'batch_size=4')),
        (SHARED, ('shared memory', '/dev/shm')),
        (KERNEL, ('--deterministic: adaptive_avg_pool2d_backward_cuda', 'reliability.md')),
        (RunError('non-finite loss at step 3'), ('non-finite loss at step 3. No checkpoint',)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_cause_is_named(tmp_path, error, parts):
    said = line(tmp_path, error)
    for part in parts:
        assert part in said
    assert said.endswith('No checkpoint was saved yet')


def test_the_newest_checkpoint_is_named(tmp_path):
    (tmp_path / 'last_checkpoint').write_text('runs/x/epoch_1.pth')
    assert line(tmp_path, full()).endswith(
        'The newest checkpoint is runs/x/epoch_1.pth: go on by --resume'
    )


def test_a_batch_of_one_cannot_be_halved(tmp_path):
    assert 'at a batch of 1: take a smaller network' in line(tmp_path, GPU, batch=1)


@pytest.mark.parametrize(('scaled', 'advice'), [
    (True, 'train_dataloader.batch_size=3, with --auto-scale-lr as before'),
    (False, 'train_dataloader.batch_size=3 optim_wrapper.optimizer.lr=0.003'),
])
def test_the_rate_follows_the_halved_batch(scaled, advice):
    cfg = Config(dict(
        train_dataloader=dict(batch_size=7), optim_wrapper=dict(optimizer=dict(lr=0.007)),
        auto_scale_lr=dict(enable=scaled, base_batch_size=64),
    ))
    assert failures.explain(MemoryError(), cfg).endswith(advice)


def test_a_lost_peer_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    monkeypatch.setattr(failures, 'get_rank', lambda: 0)
    for text in (
        '[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:42',
        '[../gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 5000ms for recv operation',
    ):
        said = line(tmp_path, RuntimeError(text))
        assert said.startswith('rank 0 lost another process of this run')
        assert text.split('] ')[1] in said


@pytest.mark.parametrize('said', [
    'PytorchStreamWriter failed writing file data/3: file write failed',
    '[enforce fail at inline_container.cc:672] . unexpected pos 71680 vs 71632',
])  # fmt: skip
def test_writers_that_only_say_that_writing_failed(tmp_path, said):
    error = RuntimeError(said)
    error.__context__ = full()
    assert 'the disk is full' in line(tmp_path, error)


@pytest.mark.parametrize(
    'error', [ValueError('unknown arch'), UserError('no data'), RuntimeError('Connection reset')],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_pass(tmp_path, error):
    with pytest.raises(type(error)) as caught, explained(Config(dict(work_dir=str(tmp_path)))):
        raise error
    assert caught.value is error
