"""Write the weights that the next stage, or a stock library, loads."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...agreement.inputs import inputs_of
from ...checkpoints import read_weights
from ...checkpoints.integrity import damage
from ...checkpoints.positions import grid_text
from ...checkpoints.read import below
from ...checkpoints.record import (
    Record,
    describe_network,
    describe_origin,
    licences_beside,
    parameters_in,
    write_sidecar,
)
from ...checkpoints.write import write_weights
from ...config.parts import students_in
from ...version import __version__
from ..running_statistics import share_statistics
from ..sharding import ShardedDataParallel
from .access import about_teachers, bare_model, resumed_here
from .best import State, best_by, check_averaging, deployable_now, same, saved_deployable
from .reporting import seen_size


@HOOKS.register_module()
class WeightsExportHook(Hook):
    """Writes ``weights.pth`` at the end of training, ``best_weights.pth`` at the best validation.

    They hold plain weights without teacher, adapters or optimizer state: of a distiller the student
    (stage 1: its encoder), of any other model the model itself. The JSON beside each says what
    network it is, and where it comes from (:mod:`g2sd_mm.checkpoints.record`); training
    checkpoints carry the same under ``meta.student``, so that a student can be taken out of them.

    What is validated is what is saved: where a hook averages weights, both files have those that
    the validation was made with. Metrics stand beside the very weights that they were measured
    with, and nowhere else.

    Of several students each has its files in a folder of its name; training checkpoints of such a
    run have ``meta.students``.
    """

    priority = 'LOW'

    def __init__(self) -> None:
        self._best: tuple[str, float] | None = None  # by which metric, and how much
        self._validated: Record = {'metrics': {}}
        self._state: State | None = None  # what was validated; gone when training goes on
        self._files: dict[str, Record] = {}  # by student; one alone has no name
        self._compared, self._differs = False, False

    def before_train(self, runner: Runner) -> None:
        """Take the digests of the files that this run starts from, before anybody changes them.

        A resumed run takes the best of before from the file that it wrote. (An epoch's checkpoint
        is saved before its validation, so it does not know.) A file that another run left in the
        work dir says nothing of this one.

        Raises:
            UserError: for hooks that average weights and validate or save others.
        """
        check_averaging(runner)
        if is_main_process():
            self._files = _origins(runner)
        path = Path(runner.work_dir) / 'best_weights.pth'
        if runner.iter > 0 and path.is_file() and resumed_here(runner):
            if problem := damage(path):
                runner.logger.warning('%s: %s; the next best takes its place', path, problem)
            else:
                self._best = _kept_best(path)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """What was validated is not the newest any more."""
        self._state = None

    def before_val(self, runner: Runner) -> None:
        """Another validation begins: of one network, also where each process has trained alone."""
        self._state = None
        share_statistics(runner)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Keep the weights that are validated, at the last batch, before they are exchanged again.

        (A hook that lets a second network run over the same data does so afterwards.)
        """
        if self._state is None and self.end_of_epoch(runner.val_dataloader, batch_idx):
            self._state = deployable_now(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Keep the best weights, by the metric of ``save_best`` if the config has one."""
        metrics = {name: float(value) for name, value in (metrics or {}).items()}
        self._validated = {'metrics': metrics, 'metrics_iter': runner.iter}
        found = best_by(runner, metrics)
        if found is None or math.isnan(metrics[found[0]]):
            return
        name, more = found
        value, known = metrics[name], self._best
        if known is None or known[0] != name or (value > known[1] if more else value < known[1]):
            self._best = (name, value)
            self._write(runner, 'best_weights.pth', {name: value})

    def after_val(self, runner: Runner) -> None:
        """Once a run, see whether training checkpoints hold what is validated."""
        if runner.optim_wrapper is not None:
            self._compare(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Training checkpoints say what their student is."""
        self._compare(runner)  # the best one is saved in its validation
        meta = checkpoint['meta']
        records = {}
        for name in students_in(runner.cfg):
            record = self._record(runner, meta['iter'], not self._differs, name)
            # it is saved inside of the epoch or iteration that it completes
            record['origin'].update(epoch=meta['epoch'], iter=meta['iter'])
            records[name] = record
        meta |= {'student': records['']} if '' in records else {'students': records}
        meta['grid'] = grid_text(_part(bare_model(runner), next(iter(records))))

    def after_train(self, runner: Runner) -> None:
        """Keep the last weights."""
        share_statistics(runner)
        self._write(runner, 'weights.pth', {})

    def _compare(self, runner: Runner) -> None:
        # sharded weights are whole with all processes only, and checkpoints are the first one's
        sharded = isinstance(runner.model, ShardedDataParallel)
        if self._compared or self._state is None or sharded:
            return
        self._compared = True
        saved = saved_deployable(runner, self)
        if is_main_process() and not same(self._state, saved):
            self._differs = True
            runner.logger.warning(
                'training checkpoints do not hold the weights that are validated: a hook exchanges '
                'them for validation and not in before_save_checkpoint. weights.pth and '
                'best_weights.pth hold those that are validated; take no student out of other files'
            )

    def _write(self, runner: Runner, name: str, metrics: dict[str, float]) -> None:
        model = bare_model(runner)
        state = self._state
        if state is None:  # not validated: what a checkpoint would hold
            state = saved_deployable(runner, self)
        if not is_main_process():
            return
        for student in students_in(runner.cfg):
            own = below(state, f'{student}.') if student else state
            path = Path(runner.work_dir) / student / name
            path.parent.mkdir(exist_ok=True)
            self._write_one(runner, path, _part(model, student), own, metrics, student)

    def _write_one(
        self, runner: Runner, path: Path, model: Any, state: State, metrics: dict[str, float],
        student: str,
    ) -> None:
        record = self._record(runner, runner.iter, name=student)
        meta: dict[str, Any] = {
            'g2sd_mm': __version__,
            'model': type(getattr(model, 'student', model)).__name__,
            'experiment': runner.experiment_name,
            'epoch': runner.epoch,
            'iter': runner.iter,
            'seed': runner.seed,
            'metrics': metrics,
            'norm_pix': getattr(model, 'norm_pix', None),
            'grid': grid_text(model),
            'student': record,
        }
        write_weights(path, state, meta)
        write_sidecar(path, record, parameters_in(state))
        runner.logger.info('weights for the next stage or a stock library: %s', path)

    def _record(
        self, runner: Runner, step: int, validated: bool = True, name: str | None = None
    ) -> Record:
        """What a student (the first one) is after a step, in plain values.

        Metrics of an earlier step, or of other weights, are those of the last validation.
        """
        if not self._files:  # validation outside of training
            self._files = _origins(runner)
        students = students_in(runner.cfg)
        name = next(iter(students)) if name is None else name
        cfg = students[name]
        known = self._validated
        if known['metrics'] and not (validated and known['metrics_iter'] == step):
            known = {'metrics': {}, 'last_validation': known}
        return {
            'network': describe_network(cfg, _class_names(runner)),
            'inputs': inputs_of(cfg, seen_size(runner)).plain(),
            'origin': {
                **self._files[name],
                **known,
                'experiment': runner.experiment_name,
                'epoch': runner.epoch,
                'iter': runner.iter,
                'seed': runner.seed,
            },
        }


def _kept_best(path: Path) -> tuple[str, float] | None:
    """By which metric the weights of a file were kept, and how much.

    The JSON beside is written anew: a process that was killed may not have done so."""
    kept = read_weights(path, mmap=True)
    if is_main_process() and (record := kept.meta.get('student')):
        write_sidecar(path, record, parameters_in(kept.state))
    return next(iter((kept.meta.get('metrics') or {}).items()), None)


def _part(model: Any, student: str) -> Any:
    """Of a model with several students, that of one."""
    return model.students[student] if student else model


def _origins(runner: Runner) -> dict[str, Record]:
    return {name: _origin(runner, cfg) for name, cfg in students_in(runner.cfg).items()}


def _origin(runner: Runner, cfg: Config) -> Record:
    """What the config says, what built teachers say of themselves, and who taught the files."""
    origin = describe_origin(cfg)
    for name, about in about_teachers(bare_model(runner)).items():
        part, key = (origin.setdefault('teachers', {}), name) if name else (origin, 'teacher')
        part[key] = {**(part.get(key) or {}), **about}
    sources = [origin['initialised_from'], origin['teacher'], *origin.get('teachers', {}).values()]
    for source in filter(None, sources):
        if licences := licences_beside(source.get('file')):
            source['licences'] = licences
    return origin


def _class_names(runner: Runner) -> tuple[str, ...]:
    """Names of the classes of the training data; empty if it has none."""
    dataset = getattr(getattr(runner.train_loop, 'dataloader', None), 'dataset', None)
    return tuple((getattr(dataset, 'metainfo', None) or {}).get('classes') or ())
