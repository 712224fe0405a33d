"""Resume a run from a checkpoint as from data: no code of it is run, no path of it is followed.

mmengine evaluates the config text inside of a checkpoint, and removes the file or folder that the
checkpoint calls its best one, wherever that is. Here the text is left alone, and what a checkpoint
says of files stands for files of the run's own folder, under the names that the run gives, or for
none at all. So a work dir can be copied and moved, and no file can name another one for removal.
"""

from __future__ import annotations

import functools
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from g2sd_mm.errors import CheckpointError
from g2sd_mm.text import printable

#: Steps that checkpoints are kept for: a number, or one in the middle of an epoch.
_STEP = r'\d+(?:_iter_\d+)?'
_HOLE = re.compile(r'\\\{.*?\\\}')


@dataclass(frozen=True)
class CheckpointFolder:
    """Where a checkpoint hook writes, and the names that it gives there.

    Attributes:
        folder: the run's own folder of checkpoints.
        template: name of a checkpoint with a hole for the step, as ``epoch_{}.pth``.
        metrics: metrics that a best checkpoint is kept of; ``auto`` for the first one.
    """

    folder: str
    template: str
    metrics: tuple[str, ...] = ()

    @classmethod
    def of(cls, hook: Any, work_dir: str) -> CheckpointFolder:
        """That of an mmengine ``CheckpointHook``, before it has begun to train."""
        folder = str(hook.out_dir or work_dir)
        if folder != str(work_dir):  # mmengine's own arrangement
            folder = os.path.join(folder, os.path.basename(str(work_dir).rstrip(os.sep)))
        metrics = tuple(getattr(hook, 'key_indicators', ())) if hook.save_best else ()
        return cls(folder, hook.filename_tmpl, metrics)

    def holds(self, file: str | Path) -> bool:
        """Whether a file lies in this folder itself."""
        if _is_remote(self.folder):
            return os.path.dirname(file) == self.folder.rstrip('/')
        return os.path.realpath(os.path.dirname(file) or '.') == os.path.realpath(self.folder)

    def own(self, said: Any, metric: str | None = None) -> str | None:
        """The file of this folder that a checkpoint means, wherever the folder was at that time.

        Args:
            said: the path in the checkpoint.
            metric: of a best checkpoint; None for a checkpoint of the run.

        Returns:
            its path; None if it is not there, or has no name that this run would give.
        """
        name = os.path.basename(said) if isinstance(said, str) else ''
        pattern = _HOLE.sub(lambda hole: _STEP, re.escape(self.template))
        if metric is not None:
            key = '.+' if metric == 'auto' else re.escape(metric.replace('/', '_'))
            pattern = f'best_{key}_{pattern}'
        path = os.path.join(self.folder, name)
        return path if re.fullmatch(pattern, name) and _is_file(path) else None


def resume_from_data(module: ModuleType) -> None:
    """Change the runner of ``mmengine.runner.runner`` or ``._flexible_runner``, just imported."""
    if hasattr(module, 'FlexibleRunner'):
        _change(module.FlexibleRunner, lambda run: (run.strategy, 'resume'))
    else:
        _change(module.Runner, lambda run: (run, 'load_checkpoint'))


def _change(runner: Any, reader_of: Callable[[Any], tuple[Any, str]]) -> None:
    """Let ``runner.resume`` see a checkpoint that was cleaned, from what reads it for that."""
    resume = runner.resume

    @functools.wraps(resume)
    def resume_as_data(self: Any, filename: str, *args: Any, **kwargs: Any) -> None:
        holder, name = reader_of(self)
        read = getattr(holder, name)

        def read_as_data(*args: Any, **kwargs: Any) -> Any:
            checkpoint = read(*args, **kwargs)
            check_resumable(checkpoint, filename)
            checkpoint['meta'].pop('config', None)
            for line in _clean(checkpoint, self, filename):
                self.logger.warning(line)
            return checkpoint

        self.resumed_from = str(filename)
        setattr(holder, name, read_as_data)
        try:
            resume(self, filename, *args, **kwargs)
        finally:
            delattr(holder, name)

    runner.resume = resume_as_data


def check_resumable(checkpoint: Any, name: object, optimizer: bool = False) -> None:
    """See that a file has the parts of a training checkpoint, of the kinds that they have to be.

    Args:
        checkpoint: content of the file.
        name: of the file.
        optimizer: whether the state of one is needed, which best checkpoints lack.

    Raises:
        CheckpointError: with the part that is missing or odd.
    """
    content = checkpoint if isinstance(checkpoint, Mapping) else {}
    meta: Any = content.get('meta')
    hub: Any = content.get('message_hub')
    problem = 'no optimizer' if optimizer and 'optimizer' not in content else ''
    if not isinstance(meta, dict) or not isinstance(hub, dict):
        problem = 'no message_hub' if isinstance(meta, dict) else 'no meta'
    else:
        for key in ('epoch', 'iter'):
            if not _is_count(meta.get(key)):
                problem = f'meta.{key} is {meta.get(key)!r:.40}'
        if meta.get('seed') is not None and not _is_count(meta['seed']):
            problem = f'meta.seed is {meta["seed"]!r:.40}'
        for key in ('log_scalars', 'runtime_info', 'resumed_keys'):
            if not isinstance(hub.get(key), dict):
                problem = f'no message_hub.{key}'
    if problem:
        raise CheckpointError(
            f'cannot go on from {name}: it is no training checkpoint of mmengine ({problem}); '
            'give an epoch_N.pth or iter_N.pth of a run (--resume alone takes the newest), or '
            'start a new run from these weights with --cfg-options load_from=FILE'
        )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _clean(checkpoint: dict[str, Any], runner: Any, file: str) -> list[str]:
    """Mend what the checkpoint says of files, for the runner's hook; lines for the log."""
    from mmengine.hooks import CheckpointHook

    info = checkpoint['message_hub']['runtime_info']
    hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    if hooks:
        return own_files_only(info, CheckpointFolder.of(hooks[0], runner.work_dir), file)
    return own_files_only(info, CheckpointFolder(str(runner.work_dir), ''), file)


def own_files_only(info: dict[str, Any], folder: CheckpointFolder, file: str) -> list[str]:
    """Let ``best_ckpt``, ``last_ckpt`` and ``keep_ckpt_ids`` stand for files of the run's folder.

    Args:
        info: ``runtime_info`` of a checkpoint's message hub; changed in place.
        folder: of the run that goes on.
        file: the checkpoint. If it lies in that folder, so do the files that it speaks of, even if
            the folder was elsewhere when they were written. Otherwise they are another run's.

    Returns:
        lines for the log, on what is left out.
    """
    at_home = folder.holds(file)
    kept = info.pop('keep_ckpt_ids', ())
    if at_home and isinstance(kept, (list, tuple)):
        info['keep_ckpt_ids'] = [step for step in kept if _is_step(step)]
    last = folder.own(info.pop('last_ckpt', None)) if at_home else None
    if last:
        info['last_ckpt'] = last
    lines = []
    for ending in _endings(info):
        said = info.pop(f'best_ckpt{ending}', None)
        score = info.pop(f'best_score{ending}', None)
        metric = _metric(ending, folder)
        best = folder.own(said, metric) if at_home and metric is not None else None
        if best and _is_score(score):
            info[f'best_ckpt{ending}'], info[f'best_score{ending}'] = best, score
        elif said is not None:
            lines.append(
                f'the best checkpoint of the run so far, {printable(str(said))}, is '
                f'{"not in" if at_home else "not of a run in"} {folder.folder}: it stays as it is, '
                'and this run keeps its best one from here on'
            )
    return lines


def _is_remote(path: str) -> bool:
    return '://' in path


def _is_file(path: str) -> bool:
    if not _is_remote(path):
        return os.path.isfile(path)
    from mmengine import fileio

    return fileio.isfile(path)


def _is_step(value: Any) -> bool:
    return _is_count(value) or (isinstance(value, str) and bool(re.fullmatch(_STEP, value)))


def _endings(info: Mapping[str, Any]) -> list[str]:
    """What follows ``best_ckpt`` and ``best_score``: nothing, or ``_METRIC`` for one of several."""
    keys = [key for key in info if isinstance(key, str)]
    return sorted(
        {
            key.removeprefix(start)
            for start in ('best_ckpt', 'best_score')
            for key in keys
            if key == start or key.startswith(f'{start}_')
        }
    )


def _metric(ending: str, folder: CheckpointFolder) -> str | None:
    """The metric that a key is about; None if the run keeps no best checkpoint of it."""
    if not ending:
        return folder.metrics[0] if len(folder.metrics) == 1 else None
    return ending[1:] if len(folder.metrics) > 1 and ending[1:] in folder.metrics else None


def _is_score(value: Any) -> bool:
    """A number, of Python or numpy, that others can be compared with."""
    try:
        return not isinstance(value, (str, bytes)) and not math.isnan(float(value))
    except (TypeError, ValueError):
        return False
