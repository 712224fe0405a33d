"""Join the process group that a launcher started, with GPUs or without."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from ..config.parts import peer_timeout, sync_batch_norm
from ..engine.hooks.console import shorten
from ..errors import Preempted, UserError
from ..preemption import ending_while_waiting


def start_processes(cfg: Config, launcher: str) -> None:
    """Fit a config to its launcher; without GPUs join over gloo, which mmengine cannot do alone.

    Args:
        cfg: changed in place.
        launcher: ``none``, ``pytorch`` (torchrun), ``slurm`` or ``mpi``.

    Raises:
        UserError: for ``mpi`` without GPUs, or where the launcher did not start this process.
    """
    cfg.launcher = launcher
    sync_batch_norm(cfg, launcher)
    if launcher == 'slurm':  # jobs that share a node would else meet at one port
        job = int(os.environ.get('SLURM_JOB_ID', 0)) + int(os.environ.get('SLURM_STEP_ID', 0))
        os.environ.setdefault('MASTER_PORT', str(29500 + job % 3000))
    if launcher == 'none' or torch.cuda.is_available():
        return
    if launcher == 'slurm':
        name_rank_by_slurm()
    elif launcher != 'pytorch':
        raise UserError(f'--launcher {launcher} needs GPUs; without one use --launcher pytorch')
    with ending_while_waiting():
        torch.distributed.init_process_group('gloo', timeout=peer_timeout(cfg))
    cfg.setdefault(
        'model_wrapper_cfg',
        dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False),
    )


@contextmanager
def leaving_processes() -> Iterator[None]:
    """Leave the process group, if there is one, when the work is done or has ended on request.

    gloo's threads may abort a process that ends with them still running. After an error the group
    stays as it is: leaving it could wait for the others, and nobody would see what failed.
    """
    try:
        yield
    except Preempted:
        _leave_group()
        raise
    _leave_group()


def _leave_group() -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


class _Short:
    """Of a runner whose terminal is not for all of the log."""

    def build_logger(self, *args: Any, **kwargs: Any) -> logging.Logger:
        logger: logging.Logger = super().build_logger(*args, **kwargs)  # type: ignore[misc]
        shorten(logger)
        return logger


def build_runner(cfg: Config, verbose: bool = False) -> Runner:
    """The config's runner; mmengine's own where it names none.

    Args:
        cfg: of the run.
        verbose: whether the terminal gets all of the log.
    """
    family: Any = RUNNERS.get(cfg.runner_type) if cfg.get('runner_type') else Runner
    if family is None:
        return RUNNERS.build(cfg)  # which says that there is none
    # a test leaves the config that the run was trained with where it is
    own = {} if cfg.get('train_cfg') else {'dump_config': lambda runner: None}
    parts = (family,) if verbose else (_Short, family)
    chosen: Any = type(family.__name__, parts, own) if own or not verbose else family
    start = cfg.get('resume'), cfg.get('load_from')
    cfg.update(resume=False, load_from=None)  # in the run's folder it is the config of a new run
    runner = chosen.from_cfg(cfg)
    runner._resume, runner._load_from = runner.cfg.resume, runner.cfg.load_from = start
    return runner


def end_workers(runner: Runner) -> None:
    """End the processes that read images for a runner, which has done its work.

    Those of a loader that keeps them would live as long as the runner does, and then be waited for,
    five seconds each, since their queues are collected with them. A loader that is iterated again
    starts new ones.
    """
    for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
        for name in ('dataloader', 'dataloader_iterator'):
            holder: Any = getattr(loop, name, None)
            shut_down = getattr(getattr(holder, '_iterator', None), '_shutdown_workers', None)
            if shut_down is not None:
                shut_down()
                # it would hand out what it has read by now, and leave out the rest of its epoch
                holder._iterator = None


def name_rank_by_slurm() -> None:
    """Set the variables that torch joins by from those of Slurm.

    ``MASTER_ADDR`` (the job's first node) can be set beforehand.

    Raises:
        UserError: outside of a Slurm task.
    """
    try:
        rank, world = os.environ['SLURM_PROCID'], os.environ['SLURM_NTASKS']
        nodes, local = os.environ['SLURM_NODELIST'], os.environ['SLURM_LOCALID']
    except KeyError as error:
        raise UserError(
            f'--launcher slurm: {error.args[0]} is not set, so srun did not start this process; '
            'use tools/slurm_train.sh'
        ) from error
    os.environ.update(RANK=rank, WORLD_SIZE=world, LOCAL_RANK=local)
    if 'MASTER_ADDR' not in os.environ:
        names = subprocess.run(
            ['scontrol', 'show', 'hostnames', nodes], capture_output=True, text=True, check=True
        )
        os.environ['MASTER_ADDR'] = names.stdout.split()[0]
