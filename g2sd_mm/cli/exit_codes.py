"""How every command ends: 0, or one clear line on stderr and a non-zero exit code."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ..compat.quiet import quiet_imports
from ..errors import Preempted, RunError, UserError

#: Paths that are no file: a loop of links, a folder, below a file, too long.
_PATHS = (errno.ELOOP, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)


def run_command(command: Callable[[], None]) -> None:
    """Run a command; exit 2 after a person's error, 1 after any other, 130 after Ctrl-C.

    A run that ended on request has done what it should: it says how it goes on, and exits 0.

    The whole traceback of an unexpected error goes to ``work_dirs/last_error.log``, or to the
    terminal with ``G2SD_TRACEBACK=1``.
    """
    try:
        with _ending_at_the_second_interrupt(), quiet_imports(), _no_unrestricted_loading():
            command()
    except KeyboardInterrupt:
        sys.exit(130)
    except Preempted as end:
        if os.environ.get('RANK', '0') == '0':
            print(f'{end}; go on by: {resume_command(sys.argv)}', flush=True)
        sys.exit(0)
    except UserError as error:
        _say(error)
        sys.exit(2)
    except Exception as error:
        if os.environ.get('G2SD_TRACEBACK') == '1':
            raise
        if _is_about_a_file(error):
            _say(error)
            sys.exit(2)
        if isinstance(error, RunError):
            _say(error)
            sys.exit(1)
        _say(error, where=_keep_traceback())
        sys.exit(1)


def resume_command(argv: Sequence[str]) -> str:
    """The command line with ``--resume``, for the newest checkpoint whatever it began with."""
    # the one command has the name of its part behind it, see g2sd_mm/__main__.py
    words = argv[0].split() if argv[0].startswith('g2sd ') else ['python', argv[0]]
    for word, before in zip(argv[1:], argv, strict=False):
        if word.startswith('--resume') or (before == '--resume' and not word.startswith('-')):
            continue
        words.append(word)
    return shlex.join([*words, '--resume'])


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


def _is_about_a_file(error: BaseException) -> bool:
    """Missing, unreadable or unfit: the message names it, a traceback adds nothing."""
    from ..compat.safe_load import CheckpointError

    named = (CheckpointError, FileNotFoundError, PermissionError, SyntaxError)
    return isinstance(error, named) or getattr(error, 'errno', None) in _PATHS


def _say(error: BaseException, where: str = '') -> None:
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    line = ' '.join(_own_words(str(text)).split()) or type(error).__name__
    print(f'error: {line}{where}', file=sys.stderr)


def _own_words(text: str) -> str:
    """What an error said before a loader's worker put its whole traceback in front."""
    if '\nOriginal Traceback' not in text:
        return text
    return text.rstrip().rpartition('\n')[2].partition(': ')[2]


def _keep_traceback() -> str:
    path = Path('work_dirs') / 'last_error.log'
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(traceback.format_exc())
    except OSError:
        return ' (G2SD_TRACEBACK=1 shows where)'
    return f' (traceback: {path})'
