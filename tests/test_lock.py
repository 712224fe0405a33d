"""One process at a time: the others wait until it has done its work, or died."""

from __future__ import annotations

import errno
import multiprocessing
import time
from pathlib import Path

import pytest
from filelock import FileLock

from g2sd_mm.lock import file_lock

fork = multiprocessing.get_context('fork')


def write(log: Path, text: str) -> None:
    with log.open('a') as file:
        file.write(text)


def work(folder: Path, name: str, holds: multiprocessing.Event, seconds: float) -> None:
    with file_lock(folder / 'lock') as held:
        assert held
        write(folder / 'log', f'{name} begins, ')
        holds.set()
        time.sleep(seconds)
        write(folder / 'log', f'{name} ends, ')


def start(folder: Path, name: str, seconds: float = 0.0) -> tuple:
    """A process that works, and what is set once it does."""
    holds = fork.Event()
    process = fork.Process(target=work, args=(folder, name, holds, seconds))
    process.start()
    return process, holds


def test_the_second_waits_for_the_first(tmp_path):
    first, holds = start(tmp_path, 'first', seconds=0.3)
    assert holds.wait(20)
    second, _ = start(tmp_path, 'second')
    first.join()
    second.join()
    log = (tmp_path / 'log').read_text()
    assert log == 'first begins, first ends, second begins, second ends, '


def test_who_waits_is_told_once_and_who_does_not_wait_is_not(tmp_path):
    told = []
    with file_lock(tmp_path / 'lock', told=lambda: told.append('free')):
        other = FileLock(tmp_path / 'other')
        other.acquire()
        with file_lock(tmp_path / 'other', told=lambda: (told.append('held'), other.release())):
            assert told == ['held']


def test_a_killed_owner_holds_nothing(tmp_path):
    first, holds = start(tmp_path, 'first', seconds=600)
    assert holds.wait(20)
    first.kill()
    first.join()
    second, _ = start(tmp_path, 'second')
    second.join(60)
    assert (tmp_path / 'log').read_text() == 'first begins, second begins, second ends, '


def test_a_process_that_was_forked_meanwhile_holds_nothing_afterwards(tmp_path):
    with file_lock(tmp_path / 'lock'):
        worker = fork.Process(target=time.sleep, args=(600,))
        worker.start()
    second, holds = start(tmp_path, 'second')
    got_it = holds.wait(20)
    for process in (worker, second):
        process.kill()
        process.join()
    assert got_it


def test_without_locks_the_work_is_done_all_the_same(tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(FileLock, 'acquire', refuse)
    with file_lock(tmp_path / 'lock') as held:
        assert not held


def test_a_folder_that_is_none_is_an_error(tmp_path):
    (tmp_path / 'file').touch()
    below = tmp_path / 'file' / 'lock'
    with pytest.raises((NotADirectoryError, FileExistsError)), file_lock(below):
        pass
