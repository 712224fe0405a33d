"""Single faults other than a killed run: what is said, how it exits, and whether all goes on.

Each function makes one and returns a record in plain values; ``ok`` where everything was as it
should be. ``skipped`` says why a machine cannot make a fault.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from g2sd_mm.checkpoints.integrity import newest_whole

from .campaign import Record, Reference, finish, last_line
from .children import Run
from .sabotage import dies_while_saving, limits_file_size, mounts, refuses

#: Appears in the log when a run is in the middle of its second epoch, or past the first checkpoint.
_MIDDLE = {'stage1': 'Epoch(train) [2][2/5]', 'cls': 'Epoch(train) [2][2/5]'}
_MIDDLE |= dict.fromkeys(('det', 'seg'), 'Iter(train) [5/9]')


def asked_to_end(
    reference: Reference, folder: Path, number: int = signal.SIGTERM, group: bool = True
) -> Record:
    """A signal to the process, or with its loader workers to its group, as Slurm sends it."""
    run = _running(reference, folder / f'asked_{number}_{reference.task.name}')
    for rank in range(reference.task.world if group else 1):
        run.signal(number, rank, group)
    record = _outcome(reference, run, f'{signal.Signals(number).name}', code=0)
    saved = run.work_dir / record['finished_from']
    # of several processes, only their launcher knows how they were started
    alone = f'python tools/train.py {reference.task.config}'
    command = alone if reference.task.world == 1 else 'the same command with --resume'
    hint = f'saved {saved}; go on by: {command}'
    return record | _check(record, hint in run.said)


def killed_worker(reference: Reference, folder: Path) -> Record:
    """SIGKILL to the data loader's workers, as the kernel does where memory ends."""
    run = _running(reference, folder / f'worker_{reference.task.name}')
    for pid in run.workers():
        os.kill(pid, signal.SIGKILL)
    record = _outcome(reference, run, 'SIGKILL to the loader workers')
    return record | _check(
        record, 'error: a data loader worker died' in record['line'],
        'go on by --resume' in record['line'],
    )


def killed_peer(reference: Reference, folder: Path) -> Record:
    """SIGKILL to one rank of two."""
    run = _running(reference, folder / f'peer_{reference.task.name}')
    run.kill([1])
    record = _outcome(reference, run, 'SIGKILL to rank 1 of 2', code=(1, -signal.SIGKILL))
    return record | _check(
        record, 'rank 0 lost another process of this run' in record['line'],
        'go on by --resume' in record['line'],
    )


def one_rank_asked(reference: Reference, folder: Path) -> Record:
    """SIGUSR1 to one rank of two: both end after the same step."""
    return asked_to_end(reference, folder, signal.SIGUSR1, group=False)


def silent_peer(reference: Reference, folder: Path, seconds: int = 15) -> Record:
    """SIGSTOP to one rank of two: it is there, and does not answer."""
    timeout = {'env_cfg.dist_cfg.timeout': seconds}
    run = _running(reference, folder / f'silent_{reference.task.name}', options=timeout)
    run.signal(signal.SIGSTOP, 1)
    ended = run.wait_for(lambda: 'error: ' in run.said, timeout=20 * seconds)
    run.kill([1])
    fault = f'SIGSTOP to rank 1 of 2, with a timeout of {seconds} s'
    record = _outcome(reference, run, fault, code=(1, -signal.SIGKILL))
    return record | _check(record, ended, 'rank 0 lost another process' in record['line'])


def file_limit(reference: Reference, folder: Path) -> Record:
    """No file may get as large as a checkpoint: writing one fails half way."""
    size = max(path.stat().st_size for path in reference.folder.glob('*_*.pth'))
    work_dir = folder / f'limit_{reference.task.name}'
    run = Run(reference.task, work_dir, limits_file_size(size // 2))
    record = _outcome(reference, run, 'writing fails half way (RLIMIT_FSIZE)')
    return record | _check(record, 'larger than a file may be' in record['line'])


def full_disk(reference: Reference, folder: Path) -> Record:
    """A tmpfs with room for the checkpoints of an earlier part of the run, and not for one more."""
    work_dir = folder / f'tmpfs_{reference.task.name}'
    Run(reference.task, work_dir, dies_while_saving('pointed to', 1)).wait()
    held = sum(path.stat().st_size for path in work_dir.rglob('*') if path.is_file())
    place = folder / f'disk_{reference.task.name}'
    place.mkdir()
    size = held + max(path.stat().st_size for path in work_dir.glob('*.pth')) // 2

    mount = mounts(place, f'size={size // 4096 * 4096}')

    def on_a_small_disk() -> None:
        mount()
        shutil.copytree(work_dir, place / 'run')

    run = Run(reference.task, place / 'run', on_a_small_disk)
    record = _outcome(reference, run, f'disk of {size} bytes full while saving', goes_on=False)
    if 'cannot mount' in record['line']:
        return record | {'skipped': record['line'], 'ok': True}
    start, differs = finish(reference, work_dir)  # what lay on that disk before, and is untouched
    record |= {'finished_from': start, 'differs': differs[:3]}
    return record | _check(
        record, 'error: the disk is full: ' in record['line'],
        'go on by --resume' in record['line'],
    )


def read_only(reference: Reference, folder: Path) -> Record:
    """A work dir on a file system that is mounted read-only."""
    place = folder / f'read_only_{reference.task.name}'
    place.mkdir()
    run = Run(reference.task, place, mounts(place, 'ro'))
    record = _outcome(reference, run, 'read-only work dir', code=2, goes_on=False)
    if 'cannot mount' in record['line']:
        return record | {'skipped': record['line'], 'ok': True}
    said = f'error: cannot write into the work dir {place}: Read-only file system'
    return record | _check(record, said in record['line'], 'Epoch' not in run.said)


def out_of_memory(reference: Reference, folder: Path) -> Record:
    """The allocator's error, in a step after the first checkpoint."""
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 b")
    work_dir = folder / f'memory_{reference.task.name}'
    run = Run(reference.task, work_dir, refuses('memory', 8, error))
    record = _outcome(reference, run, 'out of memory')
    return record | _check(
        record, 'out of memory at a batch of ' in record['line'],
        '--cfg-options train_dataloader.batch_size=' in record['line'],
    )


def truncated(reference: Reference, folder: Path) -> Record:
    """The newest checkpoint is cut in half while nobody looks."""
    work_dir = folder / f'truncated_{reference.task.name}'
    shutil.copytree(reference.folder, work_dir)
    for left in work_dir.glob('weights.*'):
        left.unlink()
    newest, _ = newest_whole(work_dir)
    os.truncate(newest, newest.stat().st_size // 2)
    start, differs = finish(reference, work_dir)
    said = (work_dir.parent / f'{work_dir.name}.out').read_text()
    line = f'checkpoint {newest} is passed over: it is truncated'
    return {
        'fault': 'newest checkpoint truncated', 'task': reference.task.name,
        'processes': reference.task.world, 'finished_from': start, 'differs': differs[:3],
        'line': line if line in said else '',
        'ok': not differs and line in said and start not in ('', newest.name, 'the beginning'),
    }


def _running(reference: Reference, work_dir: Path, **arguments: Any) -> Run:
    """A run that has got past its first checkpoint."""
    run = Run(reference.task, work_dir, **arguments)
    reached = run.wait_for(lambda: _MIDDLE[reference.task.name] in run.said)
    assert reached, run.said[-3000:]
    return run


def _outcome(
    reference: Reference,
    run: Run,
    fault: str,
    code: int | tuple[int, ...] = 1,
    goes_on: bool = True,
) -> Record:
    """Exit codes, the last line, and whether the run can be finished as if nothing had been."""
    codes = run.wait()
    expected = [code] * reference.task.world if isinstance(code, int) else list(code)
    record: Record = {
        'fault': fault, 'task': reference.task.name, 'processes': reference.task.world,
        'exit': codes, 'line': last_line(run.said), 'ok': codes == expected,
    }
    if 'Traceback' in run.said:
        record |= {'ok': False, 'traceback': run.said.partition('Traceback')[2][-3000:]}
    if goes_on:
        start, differs = finish(reference, run.work_dir)
        record |= {'finished_from': start, 'differs': differs[:3]}
    return record


def _check(record: Record, *conditions: bool) -> Record:
    return {'ok': record['ok'] and all(conditions) and not record.get('differs')}


#: What can be done to any one-process run.
ALONE: tuple[Callable[..., Record], ...] = (
    asked_to_end, file_limit, full_disk, read_only, out_of_memory, truncated,
)
#: To a run of two processes.
TOGETHER: tuple[Callable[..., Record], ...] = (
    killed_peer, silent_peer, asked_to_end, one_rank_asked,
)
