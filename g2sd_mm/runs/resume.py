"""Which checkpoint does a run go on from, and how exactly?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..checkpoints import CheckpointError
from ..checkpoints.integrity import damage, newest_whole
from ..compat.resume_data import check_resumable
from ..compat.safe_load import load_checkpoint
from ..config.parts import add_hook

#: What has to be in a config for its randomness to follow from counts alone.
_COUNTED = ('SeededSampler', 'SeededDataset', 'StepSeedHook')


def find_start(cfg: Config, resume: str | None, notes: Sequence[str] = ()) -> None:
    """Decide which checkpoint the run goes on from, in place; with ``auto``, it may be none.

    Args:
        cfg: with its ``work_dir``.
        resume: ``auto`` for the newest whole checkpoint of the work dir, a path, or None.
        notes: further lines for the log.

    A config without a seed takes the checkpoint's, before the order of images is drawn from it.

    Raises:
        CheckpointError: if the named file is damaged, or all of the work dir are, or it is no
            training checkpoint.
        FileNotFoundError: if it is not there.
    """
    notes = list(notes)
    found: Path | None = None
    if resume == 'auto':
        found, passed = newest_whole(cfg.work_dir, _checkpoint_folder(cfg))
        notes += passed
        if found is None:
            notes.append(f'no checkpoint in {cfg.work_dir} to go on from: starting anew')
    elif resume:
        found = Path(resume)
        if not found.is_file():
            raise FileNotFoundError(f'no checkpoint {resume} to go on from')
        if problem := damage(found):
            raise CheckpointError(
                f'cannot go on from {resume}: {problem}; --resume alone takes the newest whole '
                'checkpoint of the work dir'
            )
    if found is not None:
        content = load_checkpoint(found, mmap=True)
        check_resumable(content, found, optimizer=True)
        _take_seed(cfg, content)
        notes += _inexact(cfg)
        cfg.resume, cfg.load_from = True, str(found)
    add_hook(cfg, 'ResumeHook', notes=notes)


def _checkpoint_folder(cfg: Config) -> str:
    """The work dir, or the folder that a checkpoint hook with an ``out_dir`` makes for it."""
    saving = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    out_dir = saving.get('out_dir')
    if not out_dir or out_dir == cfg.work_dir:
        return str(cfg.work_dir)
    return str(Path(out_dir) / Path(cfg.work_dir).name)


def _take_seed(cfg: Config, content: dict[str, Any]) -> None:
    seed = content['meta'].get('seed')
    randomness = cfg.get('randomness') or {}
    if randomness.get('seed') is None and isinstance(seed, int):
        cfg.randomness = dict(randomness, seed=seed)


def _inexact(cfg: Config) -> list[str]:
    """A line for the log, if the run will not go on exactly as it would have."""
    loader = cfg.train_dataloader
    present = {hook['type'] for hook in cfg.get('custom_hooks') or ()}
    present |= {(loader.get('sampler') or {}).get('type'), loader.dataset.get('type')}
    lacking = [name for name in _COUNTED if name not in present]
    if not lacking:
        return []
    return [
        'going on, but not exactly as without a break: data and randomness of this config depend '
        f'on the past, since it has no {", ".join(lacking)}'
    ]
