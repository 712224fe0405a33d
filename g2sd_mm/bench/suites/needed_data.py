"""Which files and folders a config reads, as far as they can be looked for without opening any."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ...config.parts import PACKED, data_folder, innermost_dataset
from ..published import content
from .work import raw_config

TRAINING = ('train', 'val')  # what tools/train.py opens
TESTING = ('test',)  # what tools/test.py opens

#: Path -> why it does not do: ``''`` where there is nothing, or ``empty``.
Lacking = dict[str, str]


def lacking(path: str, splits: tuple[str, ...]) -> dict[str, str]:
    """What a config reads and what is not there, or is empty.

    A data set whose folder is not there at all is one path, not one for each of its parts.

    Args:
        path: config file.
        splits: loaders that are used, :data:`TRAINING` or :data:`TESTING`.

    Returns:
        path -> one sentence that says how to lay the data out.
    """
    cfg = raw_config(path)
    if cfg.get('shapes'):
        return {}  # generated on first use
    found: Lacking = {}
    for split in splits:
        if cfg.get(f'{split}_dataloader'):
            found |= _of_split(cfg, split)
    layout = cfg.get('data_layout')
    # a sentence with more than one path in it
    how = layout.replace('data/', f'{data_folder()}/') if layout else f'{path} has it'
    return {
        place: f'{why and why + "; "}lay it out as {how}' for place, why in found.items()
    }


def _here(path: str) -> str:
    """A config's path, as it is on this machine."""
    head = 'data/'
    return f'{data_folder()}/{path.removeprefix(head)}' if path.startswith(head) else path


def _of_split(cfg: Config, split: str) -> Lacking:
    dataset = innermost_dataset(cfg[f'{split}_dataloader'].dataset)
    root = str(dataset.get('data_root') or '.')
    if root.startswith(PACKED):
        return _missing([root.removeprefix(PACKED).rstrip('/')])  # one file, and all is in it
    if _missing([root]):
        return _missing([root])
    found = _missing(_parts(dataset, root))
    if dataset.get('numbering'):  # its class folders may be empty
        found |= _missing([str(dataset.numbering)], lambda path: any(path.glob('*/')))
    evaluator = cfg.get(f'{split}_evaluator')
    if isinstance(evaluator, Mapping):
        found |= _missing(_evaluated(evaluator, root))
    return found


def _parts(dataset: Any, root: str) -> Iterator[str]:
    """What a data set reads below its root, or beside it."""
    prefix = dataset.get('data_prefix') or {}
    folders = [prefix] if isinstance(prefix, str) else list(prefix.values())
    if dataset.get('ann_file'):
        yield os.path.join(root, dataset.ann_file)
    for folder in folders or ['']:
        yield os.path.join(root, folder)


def _evaluated(evaluator: Mapping[str, Any], root: str) -> Iterator[str]:
    """What a metric reads, or needs to have been read."""
    if evaluator.get('ann_file'):
        yield str(evaluator['ann_file'])
    if evaluator.get('type') == 'CorruptionError':  # mCE is of all corruptions, or is not told
        common = content()['alexnet_corruption_errors']['values']
        for name in evaluator.get('relative_to') or common:
            grouped = sorted(Path(_here(root)).glob(f'*/{name}'))  # noise/gaussian_noise, ...
            yield str(grouped[0]) if grouped else os.path.join(root, name)


def _has_content(path: Path) -> bool:
    """Whether a file has bytes, or a folder has a file at any depth (the first one is enough)."""
    if path.is_file():
        return path.stat().st_size > 0
    return any(files for _, _, files in os.walk(path, followlinks=True))


def _missing(places: Iterable[str], full: Callable[[Path], bool] = _has_content) -> Lacking:
    """Those of the places that are not there, or have nothing in them."""
    found: Lacking = {}
    for place in dict.fromkeys(_here(place).rstrip('/') for place in places):
        path = Path(place)
        if not path.exists():
            found[place] = ''
        elif not full(path):
            found[place] = 'empty'
    return found
