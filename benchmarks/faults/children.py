"""Training runs in processes forked from this one, which has imported everything."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from g2sd_mm.cli.exit_codes import run_command
from g2sd_mm.preemption import ending_anyway, ending_at_once
from g2sd_mm.runs.train import train
from tests.helpers.toys import free_port

from .tasks import Task

_FORK = multiprocessing.get_context('fork')
#: Called in the child before it trains; makes it fail.
Sabotage = Callable[[], None]


class Run:
    """One start of a task, as ``tools/train.py CONFIG --resume`` would be, all ranks of it."""

    def __init__(
        self, task: Task, work_dir: Path, sabotage: Sabotage | None = None, **arguments: Any
    ) -> None:
        self.work_dir = work_dir
        self.log = work_dir.parent / f'{work_dir.name}.out'
        self._said_before = self.log.stat().st_size if self.log.is_file() else 0
        port = free_port()
        self.began = time.perf_counter()
        self._listens = [_FORK.Event() for _ in range(task.world)]
        self.ranks = [
            _FORK.Process(
                target=_train,
                args=(task, work_dir, rank, port, self.log, sabotage, arguments, listens),
            )
            for rank, listens in enumerate(self._listens)
        ]
        for process in self.ranks:
            process.start()

    @property
    def running(self) -> bool:
        """Whether all ranks are."""
        return all(process.is_alive() for process in self.ranks)

    @property
    def listens(self) -> bool:
        """Whether a signal is a request to all ranks by now."""
        return all(event.is_set() for event in self._listens)

    def kill(self, ranks: Sequence[int] | None = None) -> None:
        """SIGKILL, to all ranks or some; waits until they are gone."""
        for rank, process in enumerate(self.ranks):
            if ranks is None or rank in ranks:
                process.kill()
                process.join()

    def signal(self, number: int, rank: int = 0, group: bool = False) -> None:
        """Any other signal, to a rank or to it and its loader workers."""
        pid = self.ranks[rank].pid
        (os.killpg if group else os.kill)(pid, number)

    def wait(self, timeout: float = 120) -> list[int | None]:
        """Exit codes by rank; None for one that did not end, which is then killed."""
        end = time.perf_counter() + timeout
        # join() with a time waits for loader workers too, which hold what it listens to: of a
        # killed run for the five seconds that they take to see it
        while time.perf_counter() < end and any(process.is_alive() for process in self.ranks):
            time.sleep(0.005)
        codes = [process.exitcode for process in self.ranks]
        self.kill()
        return codes

    def wait_for(self, condition: Callable[[], bool], timeout: float = 60) -> bool:
        """Poll until it holds, or a rank has ended."""
        end = time.perf_counter() + timeout
        while time.perf_counter() < end and self.running:
            if condition():
                return True
            time.sleep(0.005)
        return condition()

    @property
    def said(self) -> str:
        """What the ranks wrote to the terminal since this start."""
        if not self.log.is_file():
            return ''
        return self.log.read_bytes()[self._said_before :].decode(errors='replace')

    @property
    def steps(self) -> int:
        """How many training steps they told of."""
        return self.said.count('(train) [')

    def workers(self, rank: int = 0) -> list[int]:
        """Process numbers of a rank's data loader workers."""
        parent, found = self.ranks[rank].pid, []
        for entry in Path('/proc').iterdir():
            if not entry.name.isdigit():
                continue
            try:
                fields = (entry / 'stat').read_text().rpartition(')')[2].split()
            except OSError:  # ended meanwhile
                continue
            if int(fields[1]) == parent:
                found.append(int(entry.name))
        return found


def _train(
    task: Task,
    work_dir: Path,
    rank: int,
    port: int,
    log: Path,
    sabotage: Sabotage | None,
    arguments: dict[str, Any],
    listens: Any,
) -> None:
    os.setsid()
    terminal = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(terminal, 1)
    os.dup2(terminal, 2)
    sys.stdout = sys.stderr = os.fdopen(1, 'w', buffering=1, closefd=False)
    torch.set_num_threads(1)
    sys.argv = ['tools/train.py', task.config, '--work-dir', str(work_dir)]
    os.environ.pop('G2SD_TRACEBACK', None)
    if task.world > 1:
        os.environ.update(
            RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(task.world),
            MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port),
        )
        arguments = {'launcher': 'pytorch', **arguments}
    os.chdir(work_dir.parent)

    def command() -> None:
        with ending_at_once():
            listens.set()
            if sabotage:
                sabotage()
            # all of the log: incidents happen when a line of it is there
            told = {'resume': 'auto', 'verbose': True, **arguments}
            train(task.config, work_dir=str(work_dir), **told)

    try:
        run_command(command)
    finally:
        ending_anyway()  # a forked process ends without what is registered to be done at the end
    sys.stdout.flush()
