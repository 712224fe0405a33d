"""What ended a run, in one line: the cause, and what to do."""

from __future__ import annotations

import errno
import re
import shutil
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import get_rank

from ..checkpoints.integrity import POINTER
from ..errors import RunError, UserError

_FULL = (errno.ENOSPC, errno.EDQUOT)
#: How torch says that the CPU has no memory left.
_NO_MEMORY = re.compile(r"can't allocate memory|not enough memory|Cannot allocate memory")
_WORKER = re.compile(r'DataLoader worker \(pid(\(s\))? [\d, ]+\) (is killed|exited unexpectedly)')
_SIGNAL = re.compile(r'killed by signal: (\w[\w ]*)')
_SHARED = re.compile(r'Bus error|shared memory|No space left on device.*shm|torch_shm')
#: What the surviving ranks hear of a peer that died or does not answer.
_PEER = re.compile(
    r'Connection (closed|reset) by peer|Broken pipe|Connection refused|Timed out waiting|'
    r'[Ss]ocket [Tt]imeout|Read timeout|watchdog|NCCL (error|timeout)|remote process exited',
)
_KERNEL = re.compile(r'(\S+) does not have a deterministic implementation')


@contextmanager
def explained(cfg: Config) -> Iterator[None]:
    """Turn what the machine ends a run with into a :class:`RunError` with one line.

    Args:
        cfg: of the run; its batch size and work dir are in the lines.

    Raises:
        RunError: for a cause that is known here; any other error passes as it is.
    """
    try:
        yield
    except RunError as error:
        _let_workers_go()
        raise RunError(f'{error}. {_where_it_stands(cfg)}') from error
    except UserError:
        raise
    except Exception as error:
        _let_workers_go()
        cause = explain(error, cfg)
        if cause is None:
            raise
        raise RunError(f'{cause}. {_where_it_stands(cfg)}') from error


def _let_workers_go() -> None:
    """Else torch's watch over loader workers raises once more while the process ends."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def explain(error: Exception, cfg: Config) -> str | None:
    """The cause and the cure without a full stop; None for what is not the machine's doing."""
    text = _said(error)
    if _disk_is_full(error, cfg):
        file = getattr(error, 'filename', None)
        return f'the disk is full: {file or cfg.work_dir} could not be written; make room'
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return (
            f'{error.filename or cfg.work_dir} could not be written: larger than a file may be '
            'here (ulimit -f, or the file system); raise the limit'
        )
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        return f'{error.filename or cfg.work_dir} cannot be written: the file system is read-only'
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return f'out of GPU memory {_smaller_batch(cfg)}'
    if isinstance(error, MemoryError) or _NO_MEMORY.search(text):
        return f'out of memory {_smaller_batch(cfg)}'
    if _WORKER.search(text) or _is_from_a_dead_worker(error):
        return _worker_line(text, cfg)
    if found := _KERNEL.search(text):
        return (
            f'--deterministic: {found[1]} has no deterministic kernel on this device; train '
            'without it, or see docs/reliability.md'
        )
    if _is_about_a_peer(error):
        return (
            f'rank {get_rank()} lost another process of this run, which died or does not answer '
            f'({_short(str(error))}); what it said itself is the cause'
        )
    return None


def _said(error: BaseException) -> str:
    """Its message, and below it those of the errors that led to it."""
    before = error.__cause__ or error.__context__
    return f'{error}\n{_said(before)}' if before else str(error)


def _disk_is_full(error: Exception, cfg: Config) -> bool:
    """Also where torch's writer says no more than that writing failed."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    if not any(writer in str(error) for writer in ('PytorchStreamWriter', 'inline_container')):
        return False
    return isinstance(error.__context__, OSError) or shutil.disk_usage(cfg.work_dir).free < 2**20


def _smaller_batch(cfg: Config) -> str:
    batch = (cfg.get('train_dataloader') or {}).get('batch_size')
    if not batch or batch == 1:
        return 'at a batch of 1: take a smaller network or smaller images'
    half = batch // 2
    advice = (
        f'at a batch of {batch} per process; try --cfg-options train_dataloader.batch_size={half}'
    )
    if (cfg.get('auto_scale_lr') or {}).get('enable'):
        return f'{advice}, with --auto-scale-lr as before'
    rate = ((cfg.get('optim_wrapper') or {}).get('optimizer') or {}).get('lr')
    return f'{advice} optim_wrapper.optimizer.lr={rate * half / batch:.6g}' if rate else advice


def _is_from_a_dead_worker(error: Exception) -> bool:
    """Its end of the connection broke, and that was noticed first."""
    frames = traceback.walk_tb(error.__traceback__)
    files = [frame.f_code.co_filename for frame, _ in frames]
    return isinstance(error, (EOFError, ConnectionError, FileNotFoundError)) and any(
        'torch/utils/data/dataloader' in file for file in files
    ) and 'multiprocessing' in files[-1]


def _worker_line(text: str, cfg: Config) -> str:
    loader = cfg.get('train_dataloader') or {}
    fewer = (
        f'--cfg-options train_dataloader.num_workers={(loader.get("num_workers") or 2) // 2} '
        f'or train_dataloader.batch_size={max((loader.get("batch_size") or 2) // 2, 1)}'
    )
    if _SHARED.search(text):
        return f'a data loader worker ran out of shared memory: make /dev/shm larger, or {fewer}'
    by = f' (signal: {found[1].strip()})' if (found := _SIGNAL.search(text)) else ''
    return f'a data loader worker died{by}, most often for want of memory: {fewer}'


def _is_about_a_peer(error: Exception) -> bool:
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return False
    kinds = (torch.distributed.DistBackendError, torch.distributed.DistNetworkError)
    return isinstance(error, kinds) or bool(_PEER.search(str(error)))


def _short(text: str) -> str:
    """The first sentence of the last line, without the source file in front."""
    line = (text.strip().splitlines() or [''])[-1]
    return re.sub(r'^\[\S+\] ', '', line).split('. ')[0]


def _where_it_stands(cfg: Config) -> str:
    """The newest checkpoint, which is whole whatever happened."""
    pointer = Path(cfg.work_dir) / POINTER
    if not pointer.is_file():
        return 'No checkpoint was saved yet'
    return f'The newest checkpoint is {pointer.read_text().strip()}: go on by --resume'
