"""Silence for the import noise that is known, harmless and not ours. Everything else passes."""

import builtins
import contextlib
import re
import sys
import warnings
from collections.abc import Iterator
from typing import Any, TextIO

from g2sd_mm.compat.import_hooks import after_import

__all__ = ['quiet_imports', 'silence_known_warnings', 'silence_pycocotools', 'unfiltered']

# mmdet and mmpretrain print this for an optional data set library, at any log level.
_NOISY_LINE = 'Could not import OneDL'

# A warning's module is a dotted name when code runs and a file's path when it is compiled.
_THEIR_MODULES = r'(.*[/\\])?(mmcv|mmdet|mmengine|mmpretrain|mmseg)([./\\]|$)'


def silence_known_warnings() -> None:
    """Filter the known warnings of the stack for the rest of the process.

    The filters stay because one of the warnings comes long after the imports, and because
    restoring the filter list afterwards would also undo what the imported libraries added to it.
    Errors are never touched, and neither is a warning of any other origin.
    """
    known: tuple[dict[str, Any], ...] = (
        # An optional, faster replacement of pycocotools.
        {'category': UserWarning, 'message': 'faster_coco_eval is not installed'},
        # Our configs say what the published ones do; this comes for the value, said or not.
        {'category': UserWarning, 'message': 'Default ``avg_non_ignore`` is False'},
        # Pictures are drawn by our own hook.
        {'category': UserWarning, 'message': 'The draw is False'},
        # mmengine passes this argument to DistributedDataParallel, always.
        {'category': FutureWarning, 'message': '`broadcast_buffers` is deprecated'},
        # Escapes such as '\d' in plain strings: SyntaxWarning since Python 3.12.
        {'category': SyntaxWarning, 'module': _THEIR_MODULES},
        {'category': DeprecationWarning, 'module': _THEIR_MODULES},
    )
    for which in known:
        warnings.filterwarnings('ignore', **which)


# What pycocotools prints whenever it reads a file or evaluates. Its table of results is none of it.
_COCO_PROGRESS = re.compile(
    r'(?i)loading (annotations|and preparing)|creating index|index created|done \(t='
    r'|running per image|evaluate annotation type|accumulating'
)


def silence_pycocotools() -> None:
    """Take progress lines out of what pycocotools prints, from its import on."""
    for module in ('pycocotools.coco', 'pycocotools.cocoeval'):
        after_import(module, _print_no_progress)


def _print_no_progress(module: Any) -> None:
    def print_results(*values: Any, **options: Any) -> None:
        if not (values and _COCO_PROGRESS.match(str(values[0]))):
            builtins.print(*values, **options)

    module.print = print_results


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Drop the known noise while OpenMMLab libraries are imported inside the ``with`` block.

    Only the known lines are taken out of stdout. All other output passes, also when the block
    raises.
    """
    silence_known_warnings()
    stdout = _LineFilter(sys.stdout)
    try:
        with contextlib.redirect_stdout(stdout):
            yield
    finally:
        stdout.stop()


class _LineFilter:
    """Stands in front of a text stream and hands complete lines on, except the noisy ones."""

    def __init__(self, target: TextIO) -> None:
        self._target = target
        self._rest = ''
        self._active = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def write(self, text: str) -> int:
        """Take any piece of text; a line is judged once it is complete."""
        if not self._active:
            return self._target.write(text)
        *lines, self._rest = (self._rest + text).split('\n')
        for line in lines:
            if _NOISY_LINE not in line:
                self._target.write(line + '\n')
        return len(text)

    def stop(self) -> None:
        """Hand on what came without a line end, and everything from now on.

        A logger made during the imports may keep this object for the rest of the process.
        """
        self._target.write(self._rest)
        self._active = False


def unfiltered(stream: TextIO) -> TextIO:
    """The stream behind :func:`quiet_imports`, for what is not written in whole lines."""
    while isinstance(stream, _LineFilter):
        stream = stream._target
    return stream
