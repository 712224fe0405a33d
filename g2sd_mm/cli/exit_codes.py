"""How every command begins (UTF-8, memory) and ends: 0, or one clear line and another code."""

from __future__ import annotations

import argparse
import codecs
import locale
import os
import shlex
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from ..compat.import_hooks import before_import
from ..config.options import read_options
from ..errors import Preempted, UserError
from ..text import as_called, printable
from ..unexpected import account_of, address_space_limit
from .streams import lasting_streams, printable_logs


def run_command(command: Callable[..., object], args: argparse.Namespace | None = None) -> None:
    """Run a command; exit 2 after a person's error, 1 after any other, 130 after Ctrl-C.

    A run that ended on request has done what it should: it says how it goes on, and exits 0.

    The whole traceback of an unexpected error goes to ``work_dirs/last_error.log``, or to the
    terminal with ``G2SD_TRACEBACK=1``.

    Args:
        command: the function to call.
        args: what the command line says, its arguments by name; those of ``--cfg-options`` are its
            ``options``, dotted key -> value.
    """
    ensure_utf8()
    with lasting_streams():
        _run(command, vars(args) if args else {})


def _run(command: Callable[..., object], given: dict[str, Any]) -> None:
    if 'local_rank' in given:  # launchers that pass it instead of setting the variable
        os.environ.setdefault('LOCAL_RANK', str(given.pop('local_rank')))
    try:
        with (
            _ending_at_the_second_interrupt(),
            printable_logs(),
            _no_unrestricted_loading(),
        ):
            check_address_space()
            if 'cfg_options' in given:
                given['options'] = read_options(given.pop('cfg_options'))
            command(**given)
    except KeyboardInterrupt:
        sys.exit(130)
    except Preempted as end:
        if os.environ.get('RANK', '0') == '0':
            print(f'{printable(str(end))}; go on by: {_how_to_resume()}', flush=True)
        sys.exit(0)
    except Exception as error:
        account = account_of(error)
        if os.environ.get('G2SD_TRACEBACK') == '1' and not isinstance(error, UserError):
            raise
        where = '' if account.foreseen else _keep_traceback()
        print(printable(f'error: {as_called(account.line)}{where}'), file=sys.stderr)
        sys.exit(account.code)


def _how_to_resume() -> str:
    processes, here = (os.environ.get(name, '1') for name in ('WORLD_SIZE', 'LOCAL_WORLD_SIZE'))
    command = resume_command(sys.argv)
    if processes == '1':
        return command
    if here != processes or 'TORCHELASTIC_RUN_ID' not in os.environ:
        return 'the same command with --resume'  # what its launcher was called with is not known
    launcher = f'python -m torch.distributed.run --nproc_per_node {here}'
    return f'{launcher} {command.removeprefix("python ")}'


def resume_command(argv: Sequence[str]) -> str:
    """The command line with ``--resume``, for the newest checkpoint whatever it began with."""
    script, *rest = argv
    name = script.removeprefix('g2sd ')  # as g2sd_mm/__main__.py leaves it
    words = ['python', *(['-m', 'g2sd_mm', name] if name != script else [script])]
    for word, before in zip(rest, ['', *rest], strict=False):
        if word.startswith('--resume') or (before == '--resume' and not word.startswith('-')):
            continue
        words.append(word)
    return shlex.join([*words, '--resume'])


@contextmanager
def said_when_stopped(script: str) -> Iterator[str]:
    """After Ctrl-C or SIGTERM in the block, in whatever phase, it is said how a script goes on.

    Gives the command line of ``tools/<script>.py``.
    """
    typed = shlex.join(['python', f'tools/{script}.py', *sys.argv[1:]])

    def ask(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(number)

    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield typed
    except KeyboardInterrupt as asked:
        print(printable(f'stopped; the same command goes on: {as_called(typed)}'), flush=True)
        # at once: a thread may wait for a run of another process, or be about to start one
        os._exit(128 + (*asked.args, signal.SIGINT)[0])
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _ending_at_the_second_interrupt() -> Iterator[None]:
    """A Ctrl-C ends the command in order, and one more while it ends, at once and silently.

    Python would print the traceback of whatever was being tidied up.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield  # in a thread, or told to ignore it, as a command in the background of a script is
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    except KeyboardInterrupt:
        raise  # what follows is the end of the process
    except BaseException:
        signal.signal(signal.SIGINT, before)
        raise
    signal.signal(signal.SIGINT, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, _leave)
    raise KeyboardInterrupt


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(130)


@contextmanager
def _no_unrestricted_loading() -> Iterator[None]:
    """Whatever a library asks of ``torch.load``, in this process and its children, it gets tensors
    and plain values. (Our own reader is stricter still.)"""
    force, opposite = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD', 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'
    before = {name: os.environ.pop(name, None) for name in (force, opposite)}
    os.environ[force] = '1'
    try:
        yield
    finally:
        del os.environ[force]
        os.environ.update({name: value for name, value in before.items() if value is not None})


def _keep_traceback() -> str:
    path = Path('work_dirs') / 'last_error.log'
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(traceback.format_exc())
    except OSError:
        return ' (G2SD_TRACEBACK=1 shows where)'
    return f' (traceback: {path})'


#: Bytes that are more than enough for every import of the stack; below, it is tried.
_ENOUGH = 16 * 2**30
_SECONDS = 120  # an import from a slow network disk


def check_address_space() -> None:
    """Have torch's import tried in another process, if a low limit is set and it comes to that.

    Below its need torch does not raise: it ends the process from C++, and nobody could say why.
    Whoever does not import it pays nothing.
    """
    limit = address_space_limit()
    if limit is not None and limit < _ENOUGH:
        before_import('torch', lambda: _try(limit))


def _try(limit: int) -> None:
    """Raise UserError if torch cannot be imported under the limit."""
    command = [sys.executable, '-c', 'import torch; torch.ones(2, 2) @ torch.ones(2, 2)']
    try:
        code = subprocess.run(command, capture_output=True, timeout=_SECONDS).returncode
    except (OSError, subprocess.TimeoutExpired, MemoryError):
        code = 1
    if code:
        raise UserError(
            f'torch cannot be imported with an address space of {limit / 2**30:.1f} GiB (ulimit -v '
            f'{limit // 1024}): set ulimit -v unlimited, and limit the memory by other means'
        )


def ensure_utf8() -> None:
    """Start this command anew in Python's UTF-8 mode, if the locale has another encoding.

    Libraries open logs, configs and label files in the locale's encoding: a run in ``ISO-8859-1``
    or ASCII would end where the first path or class name has a letter that this lacks, which may be
    after hours. (In the C locale Python is in that mode by itself.)
    """
    encoding = codecs.lookup(locale.getpreferredencoding(False)).name
    if sys.flags.utf8_mode or encoding == 'utf-8':
        return
    os.execv(sys.executable, [sys.executable, '-X', 'utf8', *sys.orig_argv[1:]])
