"""Two runs do not share a work dir."""

from __future__ import annotations

import errno
import multiprocessing
import time

import pytest
from filelock import FileLock

from g2sd_mm.errors import UserError
from g2sd_mm.runs import work_dir
from g2sd_mm.runs.work_dir import is_first_process, work_dir_lock

from ..helpers.toys import words

fork = multiprocessing.get_context('fork')


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(work_dir, 'WAIT', 0.2)


def hold(folder, holds, worker: bool = False) -> None:
    with work_dir_lock(str(folder)):
        if worker:
            fork.Process(target=time.sleep, args=(30,)).start()
        holds.set()
        time.sleep(60)


def other(folder, **arguments):
    """A process that holds the lock."""
    holds = fork.Event()
    process = fork.Process(target=hold, args=(folder, holds), kwargs=arguments)
    process.start()
    assert holds.wait(20)
    return process


def test_a_second_run_is_refused_and_the_first_is_named(tmp_path):
    process = other(tmp_path)
    try:
        with (
            pytest.raises(UserError, match=words(f'process {process.pid} on', str(tmp_path),
                                                 '--work-dir')),
            work_dir_lock(str(tmp_path)),
        ):
            pass
    finally:
        process.kill()
        process.join()


def test_a_killed_run_is_no_obstacle_nor_are_its_workers(tmp_path):
    process = other(tmp_path, worker=True)
    process.kill()
    process.join()
    with work_dir_lock(str(tmp_path)):
        pass


def test_runs_one_after_the_other_in_one_process(tmp_path):
    for _ in range(2):
        with work_dir_lock(str(tmp_path)):
            pass
    with pytest.raises(ValueError, match='ends'), work_dir_lock(str(tmp_path)):
        raise ValueError('ends')
    with work_dir_lock(str(tmp_path)):
        pass


def test_what_a_strange_file_says_is_not_repeated(tmp_path):
    (tmp_path / work_dir.NAME).write_text('\x1b[31merror: forged\n')
    lock = FileLock(tmp_path / work_dir.NAME)
    with lock, pytest.raises(UserError) as caught, work_dir_lock(str(tmp_path)):
        pass
    assert 'forged' not in str(caught.value)


def test_without_locks_a_run_runs(tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(FileLock, 'acquire', refuse)
    with work_dir_lock(str(tmp_path)):
        pass


def test_the_first_process_holds_it_for_all(monkeypatch):
    for launcher, name in (('pytorch', 'RANK'), ('slurm', 'SLURM_PROCID')):
        monkeypatch.setenv(name, '1')
        assert not is_first_process(launcher)
        assert is_first_process('none')  # one of several runs that a launcher started
        monkeypatch.setenv(name, '0')
        assert is_first_process(launcher)
