"""Begin where a checkpoint was taken, with all of its names, its seeds and what was still to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.dist import get_rank, is_main_process
from mmengine.hooks import EarlyStoppingHook, EMAHook, Hook
from mmengine.optim import OptimWrapperDict
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner

from ...checkpoints import CheckpointError
from ...checkpoints.fill import fill_start
from ...checkpoints.integrity import POINTER
from ...checkpoints.load import compare
from ...checkpoints.read import below
from ...config.flat import as_written, flat
from ...config.load import is_old_stage1_run
from ...errors import ConfigError
from ...seeding import seed_everything
from ..fitting import KINDS, fit_checkpoint, keep_plain_states
from ..position import KEY
from .access import VALIDATED, bare_model, position_of, updates_so_far

#: Entry of a checkpoint's ``meta``: the settings by their places in the config.
SETTINGS = 'model_settings'
#: Entries that say where weights come from before training, or what is done after it.
_ELSEWHERE = {'init_cfg', 'pretrained', 'checkpoint', 'config', 'test_cfg'}
_PARTS = 'model', 'distillation', 'data_preprocessor'
_MOST = 5  # lines; a model that is another one would have hundreds


@HOOKS.register_module()
class ResumeHook(Hook):
    """Finds the place of a checkpoint in this run, and makes up for the validation due there.

    Batch, processes, images, length, schedule and optimizer may have changed since
    (:mod:`g2sd_mm.engine.fitting`); every checkpoint records what it counted in. Checkpoints are
    saved before the validation of their step, so a run that ended in between has not seen its
    figures, nor kept the best weights by them. Seeing them twice changes nothing: schedules that
    follow them count them once.

    Args:
        notes: lines for the log, on which checkpoints were passed over.
    """

    priority = 'LOWEST'  # after all others have got ready to train

    def __init__(self, notes: Sequence[str] = ()) -> None:
        self.notes = list(notes)

    def before_run(self, runner: Runner) -> None:
        """Refuse several optimizers: what is counted, vetoed and saved of a run is that of one."""
        if isinstance(runner.optim_wrapper, OptimWrapperDict):
            raise ConfigError(
                f'optim_wrapper has the optimizers {", ".join(runner.optim_wrapper.keys())}, and '
                'runs here have one: give parts of the model other rates by '
                "optim_wrapper.paramwise_cfg.custom_keys, or train with mmengine's own Runner"
            )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Fit the checkpoint to this run, if it is resumed.

        Raises:
            CheckpointError, UserError: if that cannot be done.
        """
        if not runner._resume:
            return
        runner.train_loop.start, notes = fit_checkpoint(runner, checkpoint)
        self.notes += notes
        if was := checkpoint['meta'].get(SETTINGS):
            self.notes += changed_settings(was, model_settings(runner.cfg))
        waiting = checkpoint['meta'].get('early_stopping') or {}
        for monitor, hook in _early_stopping(runner).items():
            if monitor in waiting:
                hook.best_score, hook.wait_count = waiting[monitor]

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Record the position with what it is counted in, and what else a resumed run asks for."""
        keep_plain_states(checkpoint)
        meta = checkpoint['meta']
        meta[KEY] = position_of(runner, meta['epoch'], meta['iter']).plain()
        meta[KINDS] = {'': type(runner.optim_wrapper.optimizer).__name__}
        meta[SETTINGS] = model_settings(runner.cfg)
        if waiting := _early_stopping(runner):
            meta['early_stopping'] = {
                monitor: (hook.best_score, hook.wait_count) for monitor, hook in waiting.items()
            }

    def before_train(self, runner: Runner) -> None:
        """Validate if that is due; a new run takes the work dir over from an earlier one."""
        for note in self.notes:
            runner.logger.warning(note)
        if runner.iter == 0 and getattr(runner.train_loop, 'start', None) is None:
            self._take_over(runner)
        elif runner.iter > 0 and runner.val_loop is not None and _validation_is_due(runner):
            runner.logger.info('validating step %d: the run ended before or in it', runner.iter)
            with _schedules_at_rest(runner):
                runner.val_loop.run()

    def _take_over(self, runner: Runner) -> None:
        pointer = Path(runner.work_dir) / POINTER
        if is_main_process() and pointer.is_file():
            runner.logger.warning(
                'new run in the work dir of an earlier one: --resume will not find the checkpoint '
                '%s any more (--resume PATH will, until it is overwritten)',
                pointer.read_text(encoding='utf-8', errors='replace').strip(),
            )
            pointer.unlink()


@contextmanager
def _schedules_at_rest(runner: Runner) -> Iterator[None]:
    """Schedules that follow the metrics do not count a validation that they have counted before.

    A checkpoint that is saved anew with a better best is one of after the validation.
    """
    schedulers = runner.param_schedulers
    if runner.message_hub.runtime_info.get(VALIDATED) == updates_so_far(runner):
        runner.param_schedulers = None
    try:
        yield
    finally:
        runner.param_schedulers = schedulers


def _early_stopping(runner: Runner) -> dict[str, EarlyStoppingHook]:
    """Hooks that wait for a better metric, by its name."""
    return {hook.monitor: hook for hook in runner.hooks if isinstance(hook, EarlyStoppingHook)}


def _validation_is_due(runner: Runner) -> bool:
    loop = runner.train_loop
    done, end = runner.iter, runner.max_iters
    if isinstance(loop, EpochBasedTrainLoop):
        if done != loop.epoch * len(loop.dataloader):
            return False  # in the middle of an epoch
        done, end = loop.epoch, loop.max_epochs
    loop._decide_current_val_interval()
    return done >= loop.val_begin and (done % loop.val_interval == 0 or done == end)


def model_settings(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Place in the config -> value, of a model with its distillation.

    Args:
        cfg: as ``distill_config`` makes it, or plain.
    """
    written = as_written(cfg)
    parts = {key: written[key] for key in _PARTS if key in written}
    return {
        place: str([*value]) if isinstance(value, (list, tuple)) else value
        for place, value in flat(parts, _ELSEWHERE)
        # folders can be moved
        if isinstance(value, (int, float, str, list, tuple)) and '/' not in str(value)
    }


def changed_settings(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A line for the log for each place with another value."""
    places = [place for place in {**was, **now} if was.get(place) != now.get(place)]
    lines = [
        f'changed since the checkpoint: {place}: {was.get(place, "not set")}, now '
        f'{now.get(place, "not set")}'
        for place in places[:_MOST]
    ]
    if len(places) > _MOST:
        lines.append(f'changed since the checkpoint: {len(places) - _MOST} more entries of these')
    return lines


@HOOKS.register_module()
class StrictLoadingHook(Hook):
    """Stands in for mmengine's ``load_from``, which takes what fits and says little of the rest.

    Args:
        start: weights file that the run's student starts from, see
            :func:`g2sd_mm.checkpoints.fill.fill_start`.
    """

    priority = 'VERY_HIGH'  # what else is fitted before the first step is fitted to these weights

    def __init__(self, start: str | None = None) -> None:
        self.start = start

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Before mmengine fills the model on a resume: names and shapes have to be the model's.

        Raises:
            CheckpointError: if the checkpoint is of another model.
        """
        self.start = None  # the checkpoint has what became of it
        averaged = checkpoint.get('ema_state_dict')
        if averaged and not any(isinstance(hook, EMAHook) for hook in runner.hooks):
            # the optimizer's moments belong to the weights that were trained, not to their average
            checkpoint['state_dict'] = below(averaged, 'module.')
            runner.logger.warning(
                'this checkpoint averages weights and the config has no EMAHook: the run goes on '
                'from the weights that were trained, without their average. To go on averaging, '
                'put EMAHook back into custom_hooks'
            )
        state = checkpoint.get('state_dict')
        if is_old_stage1_run(state or {}):
            raise CheckpointError(
                f'cannot go on from {runner._load_from}: a stage-1 run of version 0.1, whose '
                'model.type was GenericDistiller and is now MaskedStudent with a distillation '
                'block. Finish it with that version, or start anew from its student: leave '
                f'--resume out and add --cfg-options load_from={runner._load_from}'
            )
        model = bare_model(runner)
        problems = compare(model.state_dict(), state or {}).problems()
        if problems:
            raise CheckpointError(
                f'cannot go on from this checkpoint: it is not of this config '
                f'({type(model).__name__}); parameters: {problems}. Resume with the config and '
                'work dir of the run, or start anew from its weights.pth with '
                '--cfg-options load_from=FILE'
            )

    def before_train(self, runner: Runner) -> None:
        """After random and pre-trained initialisation.

        Raises:
            CheckpointError: if the file does not fit.
        """
        if self.start:
            fit = fill_start(bare_model(runner), self.start)
            runner.logger.info('%s', fit.summary(self.start))


@HOOKS.register_module()
class StepSeedHook(Hook):
    """Seeds python, numpy and torch before each training step from (run seed, step, rank).

    What a step draws is then the same after a resume as without one, and differs between ranks
    (mmengine gives every rank one seed unless told otherwise). Per-sample randomness, the masking
    noise among it, is seeded by the data set instead.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed all three generators."""
        seed_everything(runner.seed, runner.iter, get_rank())
