"""How every command ends: 0, or one clear line on stderr and a non-zero exit code."""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from ..compat.quiet import quiet_imports
from ..errors import Preempted, RunError, UserError


def run_command(command: Callable[[], None]) -> None:
    """Run a command; exit 2 after a person's error, 1 after any other, 130 after Ctrl-C.

    A run that ended on request has done what it should: it says how it goes on, and exits 0.

    The whole traceback of an unexpected error goes to ``work_dirs/last_error.log``, or to the
    terminal with ``G2SD_TRACEBACK=1``.
    """
    try:
        with quiet_imports():
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
    words = ['python']
    for word, before in zip(argv, ['', *argv], strict=False):
        if word.startswith('--resume') or (before == '--resume' and not word.startswith('-')):
            continue
        words.append(word)
    return shlex.join([*words, '--resume'])


def _is_about_a_file(error: BaseException) -> bool:
    """Missing, unreadable or unfit: the message names it, a traceback adds nothing."""
    from ..compat.safe_load import CheckpointError

    return isinstance(error, (CheckpointError, FileNotFoundError, PermissionError, SyntaxError))


def _say(error: BaseException, where: str = '') -> None:
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    line = ' '.join(str(text).split()) or type(error).__name__
    print(f'error: {line}{where}', file=sys.stderr)


def _keep_traceback() -> str:
    path = Path('work_dirs') / 'last_error.log'
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(traceback.format_exc())
    except OSError:
        return ' (G2SD_TRACEBACK=1 shows where)'
    return f' (traceback: {path})'
