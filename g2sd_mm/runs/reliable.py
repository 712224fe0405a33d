"""What every training run gets beside its config: nothing lost, nothing silent."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from mmengine.config import Config

from ..errors import UserError

#: Entry of ``reliability`` in a config -> hook that it has the arguments of.
_ALARMS = {
    'non_finite': 'NonFiniteHook', 'divergence': 'DivergenceHook', 'dry_run': 'DryRunHook',
    'teacher_metric': 'TeacherMetricHook',
}  # fmt: skip

#: Schedules that have to know how many iterations make an update.
_PER_UPDATE = ('WarmupCosineLR', 'WarmupPolyLR', 'WarmupMultiStepLR')


def make_reliable(cfg: Config) -> None:
    """Give a config the loop, the checkpoints and the alarms of this project, in place.

    Any config: a stock one has mmengine's. What it sets of them stays as it is; ``reliability`` in
    a config has their arguments, or None to leave one out.

    Raises:
        UserError: if ``reliability`` names an alarm that there is not.
    """
    settings = cfg.get('reliability') or {}
    if unknown := set(settings) - set(_ALARMS):
        raise UserError(
            f'reliability has {", ".join(sorted(unknown))}: there are {", ".join(_ALARMS)}'
        )
    loop = cfg.train_cfg
    if loop.pop('by_epoch', False) or loop.get('type') == 'EpochBasedTrainLoop':
        loop['type'] = 'ResumableEpochLoop'
    elif loop.setdefault('type', 'IterBasedTrainLoop') == 'IterBasedTrainLoop':
        loop['type'] = 'ResumableIterLoop'
    _fit_schedules(cfg)
    defaults = {'checkpoint': dict(type='CheckpointHook', interval=1)}  # mmengine's own
    cfg.default_hooks = {**defaults, **(cfg.get('default_hooks') or {})}
    saving = cfg.default_hooks.checkpoint
    if saving and saving.get('type', 'CheckpointHook') == 'CheckpointHook':
        saving.type = 'WholeCheckpointHook'
    for loader in (cfg.train_dataloader, cfg.get('val_dataloader')):
        if loader and 'worker_init_fn' not in loader:
            loader.worker_init_fn = dict(
                type='patient_worker',
                seed=(cfg.get('randomness') or {}).get('seed'),
                disable_subprocess_warning=loader.pop('disable_subprocess_warning', False),
            )
    arguments = {hook: settings.get(name, {}) for name, hook in _ALARMS.items()}
    hooks = list(cfg.get('custom_hooks') or [])
    present = {hook['type'] for hook in hooks}
    hooks += [
        dict(type=hook, **arguments[hook])
        for hook in _ALARMS.values()
        if hook not in present and arguments[hook] is not None
    ]
    cfg.custom_hooks = [*hooks, dict(type='PreemptionHook')]


def _fit_schedules(cfg: Config) -> None:
    """Rates change between updates alone, however many iterations make one; in place."""
    schedules = cfg.get('param_scheduler') or ()
    counts = (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    for schedule in schedules if isinstance(schedules, (list, tuple)) else ():
        if schedule.get('type') in _PER_UPDATE:
            schedule['accumulation'] = counts


def check_work_dir(folder: str) -> None:
    """Make the work dir and try to write there, before anything takes time.

    Raises:
        UserError: if that cannot be done.
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b'\0' * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(
            f'cannot write into the work dir {folder}: {error.strerror}; give another with '
            '--work-dir DIR, or make room'
        ) from error
