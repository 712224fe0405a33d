"""What is said of an exception: never its bare text, and the cure where the cause is known."""

from __future__ import annotations

import difflib
import errno
import inspect
import linecache
import re
import resource
import sysconfig
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from .errors import CheckpointError, RunError, UserError

_PACKAGE = Path(__file__).resolve().parent
#: Paths that are no file: a loop of links, a folder, below a file, too long.
_PATHS = (errno.ELOOP, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)
#: A mapping or a shared library that did not fit into memory.
_NO_ROOM = re.compile(r'failed to map segment|[Cc]annot (dynamically )?(allocate|load).*memory')
_UNEXPECTED = re.compile(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'")
_FILE = re.compile(r'^  File "([^"]+)", line (\d+)', re.MULTILINE)
#: What a value of the wrong kind, or a missing one, in a config makes constructors raise.
UNFIT = (LookupError, TypeError, AttributeError, ValueError, AssertionError)
#: Entries that COCO's files need, and what they are in a file that lacks them.
_COCO = {
    'iscrowd': '0 for a single object',
    'area': 'pixels of its mask, or width times height of its box',
    'bbox': 'x, y, width and height in pixels',
    'category_id': 'the id of one of its categories',
    'image_id': 'the id of one of its images',
    'segmentation': 'polygons or a run-length mask',
}


@dataclass(frozen=True)
class Account:
    """An exception in words.

    line: all that is said, without ``error:``.
    code: exit code: 2 where a person can mend it, 1 elsewhere.
    foreseen: the line says all; a traceback adds nothing.
    """

    line: str
    code: int = 1
    foreseen: bool = False


def account_of(error: BaseException) -> Account:
    """What to say of an exception, and how to end.

    The message of an error of :mod:`g2sd_mm.errors`, and of one about a file, says all. Any other
    one is said with its kind and the place where it was raised.
    """
    if isinstance(error, FileExistsError) and error.filename:  # of making folders
        return Account(
            f'{error.filename} is a file, and a folder has to be there: name another place',
            code=2, foreseen=True,
        )  # fmt: skip
    if isinstance(error, UserError) or _is_about_a_file(error):
        return Account(own_words(error) or _kind(error), code=2, foreseen=True)
    if isinstance(error, (RunError, SystemExit)):
        return Account(own_words(error) or _kind(error), foreseen=True)
    kind, text, place = _kind(error), own_words(error) or _asserted(error), _place(error)
    if isinstance(error, MemoryError):  # the machine's, or something asked for too much
        return Account(f'{_memory_line(_said(kind, text))} (in {place})')
    if isinstance(error, ImportError) and _NO_ROOM.search(text):
        return Account(_memory_line(text), code=2, foreseen=True)
    if isinstance(error, ImportError) or 'is not installed' in text:
        return Account(f'{text or kind} (imported in {place})', code=2)
    if cure := _cure(error, text):
        return Account(f'{cure} ({_said(kind, text)} in {place})', code=2)
    if isinstance(error, (*UNFIT, RuntimeError)) and _is_ours(error):
        mended = not isinstance(error, RuntimeError)
        return Account(text, code=2 if mended else 1, foreseen=mended)
    built = _built(error)
    if built and isinstance(error, UNFIT):
        return Account(f'{built}: {_said(kind, text)} (in {place})', code=2)
    return Account(f'{_said(kind, text)} (in {place})' if place else _said(kind, text))


def own_words(error: BaseException) -> str:
    """An exception's message in one line, without the traceback that a loader's worker adds."""
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    if '\nOriginal Traceback' in text:
        text = text.rstrip().rpartition('\n')[2].partition(': ')[2]
    return ' '.join(text.split())


def _asserted(error: BaseException) -> str:
    """What an assertion without words says must hold, from its source; else empty."""
    frames = list(_walk(error)) if isinstance(error, AssertionError) else []
    if not frames:
        return ''
    frame, line = frames[-1]
    found = re.match(r'assert (.+?)\\?$', linecache.getline(frame.f_code.co_filename, line).strip())
    return f'it must hold that {found[1].strip()}' if found else ''


def address_space_limit() -> int | None:
    """Bytes that this process may map; None without a limit."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def _is_about_a_file(error: BaseException) -> bool:
    """Missing, unreadable or unfit: the message names it, a traceback adds nothing."""
    named = (CheckpointError, FileNotFoundError, PermissionError, SyntaxError)
    return isinstance(error, named) or getattr(error, 'errno', None) in _PATHS


def _memory_line(text: str) -> str:
    limit = address_space_limit()
    cure = 'set ulimit -v unlimited, or use' if limit is not None else 'use'
    return f'not enough memory ({text}): {cure} a machine with more memory'


def _said(kind: str, text: str) -> str:
    return f'{kind}: {text}' if text else kind


def _kind(error: BaseException) -> str:
    """The name of its class, also of one that a loader's worker has sent."""
    sent = re.match(r'Caught (\w+) in DataLoader worker', str(error).lstrip('\'"'))
    return sent[1] if sent else type(error).__name__


def _place(error: BaseException) -> str:
    """``package/file.py:LINE`` of the innermost code that is not Python's own."""
    sent = _FILE.findall(str(error)) if '\nOriginal Traceback' in str(error) else []
    raised = [(frame.f_code.co_filename, str(line)) for frame, line in _walk(error)]
    places = [*raised, *sent]
    standard = sysconfig.get_path('stdlib')
    ours = [place for place in places if not _is_below(place[0], standard)] or places
    if not ours:
        return ''
    file, line = ours[-1]
    return f'{_short(file)}:{line}'


def _is_ours(error: BaseException) -> bool:
    """Whether a ``raise`` of this package made it: then its message is a sentence about a value."""
    frames = list(_walk(error))
    if not frames or not str(error):
        return False
    frame, line = frames[-1]
    file = frame.f_code.co_filename
    return file.startswith(f'{_PACKAGE}/') and linecache.getline(file, line).lstrip().startswith(
        'raise '
    )


def _is_below(file: str, standard: str) -> bool:
    return file.startswith((standard, '<frozen')) and 'site-packages' not in file


def _short(file: str) -> str:
    """A library's file from its package on, another one from the folder above it."""
    if '/site-packages/' in file:
        return file.rpartition('/site-packages/')[2]
    root = f'{_PACKAGE.parent}/'
    return file.removeprefix(root) if file.startswith(root) else '/'.join(Path(file).parts[-2:])


def _walk(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    return traceback.walk_tb(error.__traceback__)


# Known causes ---------------------------------------------------------------------------------


def _cure(error: BaseException, text: str) -> str:
    """The cause and what to do, of a cause that is known; else empty."""
    frames = [(frame.f_code.co_filename, frame.f_locals) for frame, _ in _walk(error)]
    files = [file for file, _ in frames] + [file for file, _ in _FILE.findall(str(error))]
    key = text.strip('\'"')
    if _kind(error) == 'KeyError' and key in _COCO and any(map(_reads_coco, files)):
        return (
            f'an annotation of the COCO file{_coco_file(frames)} has no "{key}": add it '
            f'({_COCO[key]})'
        )
    if re.search(r"\bgt_(label|score)\b", text) and any('mmpretrain' in file for file in files):
        return (
            'the samples have no label, which a classifier and its metrics need: the data set must '
            'be one of class folders, with_label=True'
        )
    return ''


def _reads_coco(file: str) -> bool:
    return '/pycocotools/' in file or file.endswith(
        ('datasets/coco.py', 'datasets/api_wrappers/coco_api.py', 'metrics/coco_metric.py')
    )


def _coco_file(frames: list[tuple[str, dict[str, Any]]]) -> str:
    """Its path, from the data set or the metric that reads it."""
    for _, names in reversed(frames):
        reader = names.get('self')
        for source in (getattr(reader, 'ann_file', None), names.get('annotation_file')):
            if isinstance(source, str):
                return f' {source}'
    return ''


def _built(error: BaseException) -> str:
    """``X (of the models) does not fit the config`` of the innermost part that was being built."""
    frames = [frame for frame, _ in _walk(error)]
    for frame in reversed(frames):
        if frame.f_code.co_name == 'build_from_cfg':
            names = frame.f_locals
            part = names.get('obj_type')
            registry = getattr(names.get('registry'), 'name', 'registry')
            name = part if isinstance(part, str) else getattr(part, '__name__', 'a part')
            meant = _meant(names.get('obj_cls'), str(error), frames[-1])
            return f'{name} ({registry}) cannot be built as the config says{meant}'
    return ''


def _meant(kind: Any, text: str, caller: FrameType) -> str:
    """The argument that a misspelt one stands for, of a class or one that it hands it to."""
    wrong = _UNEXPECTED.search(text)
    if not wrong or not isinstance(kind, type):
        return ''
    kinds = (*kind.__mro__, *getattr(caller.f_globals.get(wrong[1]), '__mro__', ()))
    makers = [vars(base)['__init__'] for base in kinds if '__init__' in vars(base)]
    names = {name for make in makers for name in inspect.signature(make).parameters}
    near = difflib.get_close_matches(wrong[2], names, n=1)
    return f' (did you mean {near[0]}, not {wrong[2]}?)' if near else ''
