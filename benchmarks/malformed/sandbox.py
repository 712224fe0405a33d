"""Run a case in a forked process with a folder, a time and a memory of its own."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g2sd_mm.cli.exit_codes import run_command

from .case import Case

_MEMORY = 6 << 30  # bytes that a case may have besides what the parent has
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
#: Audit events with a path that is changed, and where in the arguments it stands.
_CHANGES = {
    'os.mkdir': (0,), 'os.rename': (0, 1), 'os.remove': (0,), 'os.rmdir': (0,), 'os.symlink': (1,),
    'os.link': (1,), 'os.truncate': (0,), 'os.chmod': (0,), 'os.chown': (0,), 'os.utime': (0,),
}  # fmt: skip
_REACHING_OUT = ('socket.connect', 'subprocess.Popen', 'os.system', 'os.exec', 'os.posix_spawn')


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    verdict: ``accepted`` or ``refused``, or what went wrong.
    said: the last line on stderr, or the traceback.
    """

    verdict: str
    said: str

    @property
    def good(self) -> bool:
        return self.verdict in ('accepted', 'refused')


def run_case(case: Case, root: Path, seconds: float = 30) -> Outcome:
    """Fork, run, watch.

    Args:
        case: what to run.
        root: an empty folder; gets ``work``, which the case may write into, ``home`` and ``tmp``.
        seconds: after which it hangs.
    """
    for name in ('work', 'home', 'tmp'):
        (root / name).mkdir()
    child = os.fork()
    if child == 0:
        _be_the_child(case, root)
    status = _wait(child, seconds)
    said = (root / 'stderr').read_text(errors='replace')
    lines = said.splitlines()
    last = lines[-1] if lines else ''
    if status is None:
        return Outcome('hang', f'after {seconds} s')
    if os.WIFSIGNALED(status):
        return Outcome('crash', signal.Signals(os.WTERMSIG(status)).name)
    elsewhere = (root / 'elsewhere').read_text().splitlines()
    elsewhere += [str(path) for name in ('home', 'tmp') for path in (root / name).rglob('*')]
    if elsewhere:
        return Outcome('wrote elsewhere', ', '.join(elsewhere[:3]))
    code = os.WEXITSTATUS(status)
    if code == 0:
        return Outcome('accepted', last)
    if code != 2:
        log = root / 'work' / 'work_dirs' / 'last_error.log'
        return Outcome('traceback', log.read_text() if log.is_file() else said)
    told = [line for line in lines if not _is_a_decoders(line)]
    if len(told) != 1 or not told[0].startswith('error: ') or 'Traceback' in said:
        return Outcome('several lines', said)
    return Outcome('refused', told[0])


def _is_a_decoders(line: str) -> bool:
    """C libraries have their own mind of what to print; it is one line each, not of our making."""
    return not line.startswith('error: ') and 'Traceback' not in line and '  File "' not in line


def _wait(child: int, seconds: float) -> int | None:
    watched = os.pidfd_open(child)
    try:
        ready, _, _ = select.select([watched], [], [], seconds)
        if not ready:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        return status if ready else None
    finally:
        os.close(watched)


def _be_the_child(case: Case, root: Path) -> None:
    """Never returns."""
    code = 70
    try:
        for number, name in ((1, 'stdout'), (2, 'stderr')):
            os.dup2(os.open(root / name, os.O_WRONLY | os.O_CREAT), number)
        sys.stdout, sys.stderr = os.fdopen(1, 'w'), os.fdopen(2, 'w')
        os.environ.update(HOME=str(root / 'home'), TMPDIR=str(root / 'tmp'))
        os.environ.pop('G2SD_TRACEBACK', None)
        tempfile.tempdir = None
        sys.dont_write_bytecode = True
        faulthandler.disable()  # pytest's would tell of a crash on its own stderr
        os.chdir(root / 'work')
        used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, used + _MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _watch_writes(root)
        try:
            run_command(lambda: case.run(root / 'work'))
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 71
        sys.stdout.flush(), sys.stderr.flush()
    finally:
        os._exit(code)


def _watch_writes(root: Path) -> None:
    """List in ``root/elsewhere`` what is changed outside of ``root``, and calls for other programs
    and machines."""
    log = os.open(root / 'elsewhere', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    inside = str(root.resolve())

    def is_elsewhere(path: Any) -> bool:
        if isinstance(path, int):
            return False
        real = os.path.realpath(os.fsdecode(path))
        return not real.startswith((inside, '/dev/'))

    def audit(event: str, arguments: tuple) -> None:
        if event == 'open':
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITING and is_elsewhere(path):
                os.write(log, f'open {path}\n'.encode())
        elif event in _CHANGES:
            for path in (arguments[i] for i in _CHANGES[event]):
                if is_elsewhere(path):
                    os.write(log, f'{event} {path}\n'.encode())
        elif event in _REACHING_OUT:
            os.write(log, f'{event} {arguments[:2]}\n'.encode())

    sys.addaudithook(audit)


def run_cases(cases: list[Case], seconds: float = 30) -> list[tuple[Case, Outcome]]:
    """All of them, one after the other, in folders that are gone afterwards."""
    outcomes = []
    for case in cases:
        root = Path(tempfile.mkdtemp(prefix='malformed-'))
        try:
            outcomes.append((case, run_case(case, root, seconds)))
        finally:
            with contextlib.suppress(OSError):
                shutil.rmtree(root)
    return outcomes
