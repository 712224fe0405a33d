"""A little of each fault, on every change. The full series: ``python -m tests.faults``."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from g2sd_mm.checkpoints.whole import newest_whole

from . import campaign
from .campaign import Reference, finish, last_line
from .children import Run
from .compare import differences
from .sabotage import dies_while_saving, limits_file_size, mounts, refuses
from .tasks import data_in, make_tasks


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp('faults')
    with data_in(folder):
        yield folder


@pytest.fixture(scope='module')
def references(place):
    made: dict[str, Reference] = {}

    def get(name: str, world: int = 1) -> Reference:
        key = f'{name}_{world}'
        if key not in made:
            made[key] = Reference.of(make_tasks(place, {name: world})[name], place)
        return made[key]

    return get


def unhurt(records) -> None:
    bad = [record for record in records if not record['ok']]
    assert not bad, bad


@pytest.mark.parametrize('name', ['stage1', 'cls', 'det', 'seg'])
def test_killed_runs_end_as_if_nothing_had_been(references, place, name):
    records = list(campaign.kills_at_random(references(name), place, 2, seed=7, in_a_row=2))
    assert len(records) == 2
    unhurt(records)


def test_the_comparison_sees_a_single_bit(references, place):
    """Else equality of all those runs would mean nothing."""
    reference = references('stage1')
    other = Run(reference.task, place / 'other_seed', seed=1)
    assert set(other.wait()) == {0}, other.said
    found = differences(reference.folder, place / 'other_seed')
    assert any(line.startswith('weights.pth: ') for line in found)
    assert any(line.startswith('optimizer: ') for line in found)


def test_killed_while_saving(references, place):
    unhurt(campaign.kills_while_saving(references('stage1'), place, 5, seed=3))


def test_a_truncated_checkpoint_is_passed_over(references, place):
    import os

    reference = references('stage1')
    work_dir = place / 'truncated'
    run = Run(reference.task, work_dir, dies_while_saving('written', 3))
    run.wait()
    newest, _ = newest_whole(work_dir)
    os.truncate(newest, newest.stat().st_size // 2)
    start, differs = finish(reference, work_dir)
    assert (start, differs) == ('epoch_1.pth', [])
    assert f'checkpoint {newest} is passed over: it is truncated' in run.said


@pytest.mark.parametrize(('number', 'group'), [(signal.SIGTERM, True), (signal.SIGUSR1, False)])
def test_a_run_that_is_asked_to_end_saves_and_goes_on(references, place, number, group):
    """With its loader workers asked too, as Slurm does."""
    reference = references('cls')
    work_dir = place / f'asked_{number}'
    run = Run(reference.task, work_dir)
    assert run.wait_for(lambda: 'Epoch(train) [2][2/5]' in run.said)
    run.signal(number, group=group)
    assert run.wait() == [0], run.said
    assert f'go on by: python tools/train.py {reference.task.config}' in run.said
    newest, _ = newest_whole(work_dir)
    assert '_iter_' in newest.name
    assert finish(reference, work_dir) == (newest.name, [])


def test_a_killed_worker_is_one_line(references, place):
    reference = references('cls')
    work_dir = place / 'worker'
    run = Run(reference.task, work_dir)
    assert run.wait_for(lambda: 'Epoch(train) [2][2/5]' in run.said)
    import os

    for pid in run.workers():
        os.kill(pid, signal.SIGKILL)
    assert run.wait() == [1], run.said
    line = last_line(run.said)
    assert line.startswith('error: a data loader worker was killed (Killed)')
    assert 'epoch_1.pth: go on by --resume' in line
    assert 'Traceback' not in run.said
    assert finish(reference, work_dir)[1] == []


def test_a_killed_peer_is_one_line_and_nothing_is_lost(references, place):
    reference = references('stage1', 2)
    work_dir = place / 'peer'
    run = Run(reference.task, work_dir)
    assert run.wait_for(lambda: 'Epoch(train) [2][2/5]' in run.said)
    run.kill([1])
    assert run.wait(60) == [1, -signal.SIGKILL], run.said
    assert last_line(run.said).startswith('error: rank 0 lost another process of this run')
    assert 'Traceback' not in run.said
    assert finish(reference, work_dir)[1] == []


def test_a_full_disk_is_one_line(references, place):
    """The kernel refuses to let files grow past what the first checkpoint needs."""
    reference = references('stage1')
    size = max(path.stat().st_size for path in reference.folder.glob('epoch_*.pth'))
    work_dir = place / 'full'
    run = Run(reference.task, work_dir, limits_file_size(size // 2))
    assert run.wait() == [1], run.said
    assert last_line(run.said).startswith('error: the disk is full: ')
    assert 'Traceback' not in run.said
    assert not list(work_dir.glob('.*.tmp'))
    assert finish(reference, work_dir)[1] == []


def test_a_read_only_work_dir_is_refused_before_the_run(references, place):
    reference = references('stage1')
    folder = place / 'read_only'
    folder.mkdir()
    run = Run(reference.task, folder, mounts(folder, 'ro'))
    codes = run.wait()
    if 'cannot mount a tmpfs here' in run.said:
        pytest.skip(f'this machine lets no test mount anything: {last_line(run.said)}')
    assert codes == [2], run.said
    assert f'error: cannot write into the work dir {folder}: Read-only file system' in run.said


def test_out_of_memory_suggests_a_batch(references, place):
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
    run = Run(references('stage1').task, place / 'memory', refuses('memory', 2, error))
    assert run.wait() == [1], run.said
    assert 'out of memory at a batch of 8 per process' in last_line(run.said)
    assert 'train_dataloader.batch_size=4' in last_line(run.said)


def test_the_work_dirs_of_all_that_are_usable(place):
    """After everything above: no half file under a good name anywhere."""
    for folder in Path(place).iterdir():
        if (folder / 'last_checkpoint').is_file() and folder.name != 'truncated':
            assert newest_whole(folder)[1] == []
