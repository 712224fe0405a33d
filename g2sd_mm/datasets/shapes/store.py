"""Keeping generated sets on disk: made once, whole or not at all, by one process at a time."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

from ...lock import file_lock
from .outlines import CLASSES
from .scene import SPLITS, TASKS
from .writer import BESIDE, KINDS, annotation_name, take_in, write_set

VERSION = 1
"""Raised whenever the same parameters give other bytes: old folders are then made anew."""

DEFAULT_SIZES = {'cls': 64, 'det': 128, 'seg': 128, 'depth': 128}
"""Side of the images in pixels, by task."""

_META = 'meta.json'


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f'Shapes: {name} must be a whole number >= {least}, got {value!r}')
    return value


def check_parameters(task: str, train: int, val: int, size: int | None,
                     seed: int) -> dict[str, Any]:
    """Check what was asked for and write it as ``meta.json`` will hold it.

    Raises:
        ValueError: an argument is out of range; the message says which and what it may be.
    """
    if task not in TASKS:
        raise ValueError(f'Shapes: task must be one of {", ".join(TASKS)}, got {task!r}')
    return {
        'version': VERSION,
        'kind': KINDS[task],
        'train': _whole('train', train, 1),
        'val': _whole('val', val, 1),
        'size': _whole('size', DEFAULT_SIZES[task] if size is None else size, 32),
        'seed': _whole('seed', seed, 0),
        'classes': list(CLASSES),
    }


def _folder_name(asked: dict[str, Any]) -> str:
    return '{kind}_{size}px_{train}+{val}_s{seed}'.format(**asked)


def _count_images(folder: Path) -> int:
    return sum(name.endswith('.png') for _, _, names in os.walk(folder) for name in names)


def is_complete(folder: Path, asked: dict[str, Any]) -> bool:
    """Whether a folder holds exactly the set that was asked for.

    The annotations are checked byte for byte and the images are counted: what an interrupted copy
    or a stray ``rm`` does is found without reading every image on every start.
    """
    try:
        meta = json.loads((folder / _META).read_text('utf-8'))
        if any(meta.get(key) != value for key, value in asked.items()):
            return False
        fingerprint = hashlib.sha256()
        for split in SPLITS:
            name = annotation_name(asked['kind'], split)
            take_in(fingerprint, name, (folder / name).read_bytes())
        if fingerprint.hexdigest() != meta['annotations_sha256']:
            return False
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    expected = {split: asked[split] for split in SPLITS}
    if beside := BESIDE.get(asked['kind']):
        expected |= {f'{beside}/{split}': asked[split] for split in SPLITS}
    return all(_count_images(folder / name) == count for name, count in expected.items())


def _put_in_place(made: Path, folder: Path, asked: dict[str, Any]) -> None:
    """Rename the finished folder to its name, unless another process was faster.

    A damaged folder of that name makes way first.
    """
    old = made.with_name(made.name + '.old')
    try:
        if not is_complete(folder, asked):
            if folder.exists():
                folder.rename(old)
            made.rename(folder)
    except OSError:
        if not is_complete(folder, asked):
            raise
    for leftover in (made, old):
        shutil.rmtree(leftover, ignore_errors=True)


def _log(message: str) -> None:
    from mmengine.logging import print_log  # slow to import, and only needed once per set
    print_log(message, logger='current', level=logging.INFO)


def _generate(root: Path, folder: Path, asked: dict[str, Any], held: bool) -> None:
    prefix = f'.{folder.name}.tmp-'
    if held:  # whatever lies there belongs to a process that died
        for leftover in root.glob(f'{prefix}*'):
            shutil.rmtree(leftover, ignore_errors=True)
    started = time.perf_counter()
    work = root / f'{prefix}{os.getpid()}-{time.time_ns()}'
    work.mkdir()
    try:
        counts = {split: asked[split] for split in SPLITS}
        sums = write_set(work, asked['kind'], counts, asked['size'], asked['seed'])
        meta = json.dumps(asked | sums, indent=2) + '\n'
        (work / _META).write_text(meta, 'utf-8')
        _put_in_place(work, folder, asked)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    _log(f'Shapes: generated {counts["train"]} + {counts["val"]} images in {folder} '
         f'({time.perf_counter() - started:.1f} s)')


def ensure_shapes(root: str | Path, *, task: str, train: int, val: int, size: int | None = None,
                  seed: int = 0) -> Path:
    """Give the folder of a Shapes set; generate it first if it is not there yet.

    It is called ``cls_<size>px_<train>+<val>_s<seed>``, ``scenes_...`` (of detection and of
    segmentation) or ``depth_...``. The same arguments give the same bytes everywhere. Processes may
    call this together: one generates, the others wait for it.

    Args:
        root: Where sets are kept; made if missing.
        task: 'cls', 'det', 'seg' or 'depth'.
        train, val: Numbers of images, > 0.
        size: Side of the images in pixels, >= 32; None takes ``DEFAULT_SIZES[task]``.
        seed: Seed of the set, >= 0.

    Raises:
        ValueError: an argument is out of range.
        PermissionError: the set has to be generated and ``root`` cannot be written.
    """
    asked = check_parameters(task, train, val, size, seed)
    root = Path(root)
    folder = root / _folder_name(asked)
    if is_complete(folder, asked):
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        with file_lock(root / f'.{folder.name}.lock') as held:
            if not is_complete(folder, asked):
                _generate(root, folder, asked, held)
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise PermissionError(f'Shapes: cannot write to {root} ({error.strerror}); '
                              'set G2SD_DATA to a folder that can be written') from error
    return folder
