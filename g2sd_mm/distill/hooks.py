"""What distillation adds to a run: its own entry, the teacher's check, warm-ups, kept labels."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..config.parts import students_in, teachers_in
from ..engine.hooks.access import bare_model, updates_before, updates_so_far
from ..engine.hooks.resuming import StepSeedHook
from ..engine.position import images_of_iteration
from ..engine.tensors import is_constant
from ..errors import ConfigError
from ..provenance import READING, cache_key
from .distillation import Distillation
from .labels import TeacherLabels
from .losses.standardisation import MeasuredTarget
from .several import listed
from .teachers import FrozenTeacher
from .teachers.images import student_stride


@HOOKS.register_module()
class DistillationHook(Hook):
    """Adds a teacher's losses to a stock model's own, without changing the model's class.

    Args:
        teacher, taps, losses: as in a ``distillation`` block.

    The model's ``loss`` method is wrapped for the time of training. Adapters, and losses with
    parameters or buffers, are refused: a hook is built after the optimizer, so that they would
    never be trained, and no checkpoint would have them.
    """

    priority = 'VERY_HIGH'

    def __init__(self, teacher: dict, taps: dict, losses: dict, **unsupported: Any) -> None:
        if unsupported:
            raise ValueError(
                f'DistillationHook cannot do {", ".join(sorted(unsupported))}: adapters have '
                'parameters, and a hook comes after the optimizer was built. Use a "distillation" '
                'block with tools/train.py or g2sd_mm.distill_config(cfg)'
            )
        self._block = dict(teacher=teacher, taps=taps, losses=losses)

    def before_train(self, runner: Runner) -> None:
        """Build the teacher and listen to the model."""
        model = bare_model(runner)
        if not callable(getattr(model, 'loss', None)):
            raise TypeError(
                f'DistillationHook needs a model with a loss(inputs, data_samples) method, as all '
                f'of mmpretrain, mmdet and mmseg have; {type(model).__name__} has none'
            )
        self._distillation = distillation = Distillation(model, **self._block)
        if kept := [name for name, loss in distillation.losses.items() if loss.state_dict()]:
            raise ConfigError(
                f'DistillationHook cannot do losses.{", losses.".join(kept)}: what a loss learns '
                'or measures belongs into the optimizer and the checkpoint, and a hook comes after '
                'both were made. Use a "distillation" block with tools/train.py or '
                'g2sd_mm.distill_config(cfg); for a measured target, target=\'layernorm\' does too'
            )
        distillation.teacher.to(next(model.parameters()).device)
        self._model, task_loss = model, model.loss

        def loss(inputs: Any, data_samples: Any, *args: Any, **kwargs: Any) -> dict:
            return distillation(
                lambda: task_loss(inputs, data_samples, *args, **kwargs), inputs, data_samples
            )

        model.loss = loss

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Tell the losses' warm-ups how many updates there were."""
        self._distillation.update = updates_so_far(runner)

    def after_train(self, runner: Runner) -> None:
        """Leave the model as it was."""
        del self._model.loss  # the wrapper; the class's own method shows again
        self._distillation.student_taps.remove()


def _is_measured(loss: Any) -> bool:
    return isinstance(getattr(loss, 'target', None), MeasuredTarget)


@HOOKS.register_module()
class LossWarmupHook(Hook):
    """Keeps ``distillation.update``, optimizer updates since the start of training.

    Counted from the run's own iteration, so it goes on where it was after a resume. Beside it the
    run's seed, and a warning where targets are measured for as long as the run is.
    """

    def before_train(self, runner: Runner) -> None:
        """Say what does not change in the run."""
        losses: dict[str, Any] = {}
        for distillation in distillations_of(bare_model(runner)):
            distillation.seed = runner.seed or 0
            losses |= dict(getattr(distillation, 'losses', {}))
        updates = updates_before(runner, runner.max_iters)
        for name, loss in losses.items():
            if _is_measured(loss) and loss.target.updates >= updates:
                runner.logger.warning(
                    'the targets of %s are measured over %d updates and the run has %d: they never '
                    'come to rest; --cfg-options "distillation.losses.%s.target={\'type\': \'%s\', '
                    '\'updates\': %d}"',
                    name, loss.target.updates, updates, name, loss.target.name,
                    max(1, updates // 20),
                )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Set the count before the losses are computed; 0 at the first step."""
        for distillation in distillations_of(bare_model(runner)):
            distillation.update = updates_so_far(runner)


@HOOKS.register_module()
class TeacherGuardHook(Hook):
    """Checks that every rank has the same teacher, that it teaches, and that nothing trains it.

    A resumed run with another teacher than its checkpoint says so.

    Ranks with different teachers are how a randomly initialised decoder once went unnoticed in the
    published code: each process seeded it differently and the loss settled at the mean of them.

    Args:
        interval: steps between two looks at the teacher, beside the one at the first step: its
            weights are compared to those of the start and between ranks, and its answers to the
            images of a batch among each other. 0 looks at the first step only.
    """

    def __init__(self, interval: int = 1000) -> None:
        self.interval = interval
        self._constant: dict[str, bool] = {}
        self._checksums: dict[str, str] = {}
        self._before: dict[str, str] = {}
        self._first = True

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Record the teachers."""
        checkpoint['meta']['teachers'] = dict(self._checksums)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Remember those of the checkpoint, if the run is resumed."""
        if runner._resume:
            self._before = dict(checkpoint['meta'].get('teachers') or {})

    def before_train(self, runner: Runner) -> None:
        """Raise RuntimeError if ranks differ, or the teacher's parameters are optimised."""
        teachers = teachers_of(bare_model(runner))
        self._checksums = {name: _common_checksum(one) for name, one in teachers.items()}
        taught = {id(p) for teacher in teachers.values() for p in teacher.model.parameters()}
        trained = (p for g in runner.optim_wrapper.param_groups for p in g['params'])
        if any(id(parameter) in taught for parameter in trained):
            raise RuntimeError('the optimizer holds parameters of the teacher')
        for name, checksum in self._checksums.items():
            called = f' {name}:' if name else ''
            runner.logger.info(
                'teacher%s %s, the same on %d rank(s)', called, checksum, get_world_size()
            )
            if (was := self._before.get(name, checksum)) != checksum:
                runner.logger.warning(
                    'changed since the checkpoint: teacher%s: %s, now %s: the run goes on beside '
                    'another one', called, was, checksum,
                )
        self._first = True

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Ask to hear the teacher's answer, at steps where it is looked at."""
        if self._is_time(runner):
            self._constant = {}
            for name, teacher in teachers_of(bare_model(runner)).items():
                teacher.listener = partial(self._listen, name)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Warn of an answer that is the same for all images; raise RuntimeError of new weights."""
        if not self._is_time(runner):
            return
        first, self._first = self._first, False
        for name, teacher in teachers_of(bare_model(runner)).items():
            teacher.listener = None
            called = f' {name}' if name else ''
            if self._constant.get(name):
                runner.logger.warning(
                    'the teacher%s is dead: it gives the same answer to all images of the batch of '
                    'step %d, so there is nothing to learn from it; check its checkpoint, and that '
                    'images are not normalised twice',
                    called, runner.iter + 1,
                )
            if not first and _common_checksum(teacher) != self._checksums[name]:
                raise RuntimeError(
                    f'the weights of the frozen teacher{called} changed before step '
                    f'{runner.iter + 1}: something trains it or writes into it'
                )

    def _is_time(self, runner: Runner) -> bool:
        return self._first or (self.interval > 0 and runner.iter % self.interval == 0)

    def _listen(self, name: str, answer: Any) -> None:
        self._constant[name] = is_constant(answer)


def teachers_of(model: Any) -> dict[str, FrozenTeacher]:
    """Teachers of a distiller by name; the only one of a config is called ``''``."""
    return getattr(model, 'teachers', None) or {'': model.teacher}


def distillations_of(model: Any) -> list[Distillation]:
    """What was added to the student of a distiller, or to each of several."""
    return [part.distillation for part in _distillers(model) if hasattr(part, 'distillation')]


def teacher_places(model: Any) -> list[list[str]]:
    """What the losses of all students take of the teacher: of each argument, the names."""
    places = [
        [name for name in listed([place]) if name.startswith('teacher.')]
        for distillation in distillations_of(model)
        for loss in distillation.losses
        for place in distillation.loss_places(loss).values()
    ]
    return sorted({tuple(names): names for names in places if names}.values())


def _distillers(model: Any) -> list[Any]:
    return list(model.students.values()) if hasattr(model, 'students') else [model]


def _common_checksum(teacher: Any) -> str:
    """Digest of the teacher's weights; RuntimeError if ranks differ."""
    checksums = all_gather_object(teacher.checksum())
    if len(set(checksums)) > 1:
        raise RuntimeError(
            f'the ranks have different teachers (checksums {checksums}): give all of them the '
            'same checkpoint file'
        )
    return checksums[0]


@HOOKS.register_module()
class TeacherLabelsHook(Hook):
    """The teacher of hard-label distillation is asked once for every image that it ever sees.

    What decides its answers names a folder of the kept ones: runs that agree in it share them.
    About 2 bytes an image and epoch: 0.5 GB for 200 epochs of ImageNet.

    Args:
        folder: where the labels are kept.
    """

    _labels: TeacherLabels  # from the start of training on

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def before_train(self, runner: Runner) -> None:
        """Open this process's file; ValueError if labels do not do, or cannot be replayed."""
        if not any(isinstance(hook, StepSeedHook) for hook in runner.hooks):
            raise ValueError(
                'TeacherLabelsHook keeps labels by step, and without StepSeedHook a step has other '
                "images each time: add dict(type='StepSeedHook') to custom_hooks"
            )
        distillation = bare_model(runner).distillation
        distillation.check_labels()
        batch = images_of_iteration(runner.train_dataloader)
        processes = get_world_size()
        path = self.folder / replayed(runner) / f'rank{get_rank()}of{processes}x{batch}.labels'
        self._labels = TeacherLabels(path, runner.max_iters, batch)
        distillation.use_labels(self._labels)
        runner.logger.info('the decisions of the teacher are kept in %s', path)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Turn to the row of this step."""
        self._labels.step = runner.iter

    def after_train(self, runner: Runner) -> None:
        """Say how often the teacher was spared."""
        runner.logger.info(
            'of %d batches the labels were on file, for %d the teacher was asked',
            self._labels.found, self._labels.asked,
        )


def replayed(runner: Runner) -> str:
    """16 hex digits that stand for all that decides what the teacher sees and answers."""
    cfg, model = runner.cfg, bare_model(runner)
    metainfo = getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}
    (teacher,) = teachers_of(model).values()
    distiller = next(iter(students_in(cfg).values())).model  # others see and ask the same
    (config,) = teachers_in(distiller).values()
    student = distiller.get('student', {})
    parts = {
        'seed': runner.seed,
        'weights': teacher.checksum(),
        'teacher': {name: v for name, v in config.items() if name != 'checkpoint'},
        'taps': [t.paths for one in distillations_of(model) for t in one.teacher_taps.values()][:1],
        'places': teacher_places(model),
        'data': {name: v for name, v in cfg.train_dataloader.items() if name not in READING},
        # labels are numbers: with other folders or another order they are others
        'classes': metainfo.get('classes'),
        # normalisation and mixing
        'preprocessing': [student.get('data_preprocessor'), student.get('train_cfg')],
    }
    if getattr(teacher, 'prepares_images', False):  # in a size that follows the student's grid
        parts['stride'] = student_stride(_distillers(model)[0].student)
        parts['pixels'] = getattr(teacher, 'pixels', None)  # of a file beside its weights
    return cache_key(parts)
