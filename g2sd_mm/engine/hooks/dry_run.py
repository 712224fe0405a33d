"""Try before the first step what a run does hours later: evaluate, choose the best, export."""

from __future__ import annotations

import difflib
import errno
import functools
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner, ValLoop, autocast
from mmengine.structures import InstanceData

from ...checkpoints import read_weights
from ...checkpoints.record import Record, check_record
from ...checkpoints.write import write_weights
from ...devices import outlined
from ...errors import RunError, UserError
from ...text import one_line
from ..position import images_of_iteration
from ..sharding import ShardedDataParallel
from ..undisturbed import borrowed, silent, single_process, undisturbed
from .access import bare_model
from .best import State, best_by, deployable_now, same
from .compile import CompileHook
from .export import WeightsExportHook

Answers = list[tuple[Any, Sequence[Any]]]  # batches, and what the model says of them

_MORE = 64  # images of a second try, if an evaluator may have had too few
_NO_MEMORY = re.compile(r'out of memory|allocate memory|not enough memory')


@HOOKS.register_module()
class DryRunHook(Hook):
    """Evaluates a few validation images, and writes and reloads the weights, before the first step.

    What would end the run at its first validation, or leave it without ``weights.pth``, ends it
    here, with what failed and what to do: the validation data, the prediction, the evaluator, a
    metric that ``save_best`` or another part waits for, the export. Nothing of the run changes: its
    random numbers, weights and results are to the bit those of a run without it. Values are not
    judged: of a few images they are often no number, or -1.

    Pre-training has no evaluation; only its export is tried. Of several processes the first one
    does it, and all of them end if it fails.

    Args:
        images: that are evaluated. If the evaluator fails, it is given up to 64 before that counts.
    """

    priority = 'LOWEST'  # when weights are loaded and all others are ready; before ResumeHook

    def __init__(self, images: int = 2) -> None:
        if images < 1:
            raise UserError(
                f'reliability.dry_run.images={images}: at least one, or reliability.dry_run=None'
            )
        self.images = images

    def before_train(self, runner: Runner) -> None:
        """Try all of it.

        Raises:
            UserError: with the part that failed.
            RunError: in the other processes, if the machine ends the first one.
        """
        began = time.perf_counter()
        compiling = [hook for hook in runner.hooks if isinstance(hook, CompileHook)]
        for hook in compiling:
            hook.before_val(runner)
        try:
            with undisturbed(bare_model(runner)):
                said = [self._evaluate(runner), _export(runner)]
        finally:
            for hook in compiling:
                hook.after_val(runner)
        done = '; '.join(filter(None, said)) or 'nothing to try'
        runner.logger.info('dry run in %.1f s: %s', time.perf_counter() - began, done)

    def _evaluate(self, runner: Runner) -> str:
        """What was evaluated, in words."""
        loop = runner.val_loop
        if loop is None:
            return ''
        if type(loop) is not ValLoop:
            return f'{type(loop).__name__} is not tried'
        if not hasattr(loop.dataloader.dataset, '__len__'):
            return 'a stream of validation images is not tried'
        total = len(loop.dataloader.dataset)
        if not total:
            raise UserError(
                'dry run: val_dataloader has no image, so there is nothing to validate on: mend '
                'the paths in val_dataloader.dataset'
            )
        problem = ''
        for number in dict.fromkeys(min(n, total) for n in (self.images, max(self.images, _MORE))):
            # every process needs its part of a sharded model
            sharded = isinstance(runner.model, ShardedDataParallel)
            answers = _answers(runner, loop, number) if sharded else None
            attempt = functools.partial(_attempt, runner, loop, number, answers)
            problem, names = _by_the_first(attempt)
            if not problem:
                return f'{number} validation images give {", ".join(names) or "no metric"}'
        raise UserError(problem)


def _answers(runner: Runner, loop: ValLoop, number: int) -> Answers:
    """What the model says of images spread over the validation data, in batches as these have."""
    dataset, collate = loop.dataloader.dataset, loop.dataloader.collate_fn
    indices = [i * len(dataset) // number for i in range(number)]
    size = images_of_iteration(loop.dataloader) or 1
    answers: Answers = []
    for first in range(0, number, size):
        with _failing('the validation data', 'mend val_dataloader, or the file that is named'):
            batch = collate([dataset[i] for i in indices[first : first + size]])
        with (
            _failing('the prediction', 'mend model, or the images that val_dataloader gives'),
            autocast(enabled=loop.fp16),
        ):
            sharded = isinstance(runner.model, ShardedDataParallel)
            model: Any = runner.model if sharded else bare_model(runner)
            answers.append((batch, list(model.val_step(batch))))
    _answer_something([output for _, outputs in answers for output in outputs])
    return answers


def _answer_something(outputs: Sequence[Any]) -> None:
    """An untrained detector may find nothing, and evaluators then leave their metrics out: one
    object over the whole image takes the place of nothing. In place."""
    if any(len(getattr(output, 'pred_instances', [0])) for output in outputs):
        return
    found = outputs[0].pred_instances
    height, width = outputs[0].ori_shape[:2]
    whole = dict(
        bboxes=torch.tensor([[0.0, 0.0, width, height]]),
        scores=torch.ones(1),
        labels=torch.zeros(1, dtype=torch.long),
    )
    if isinstance(found.get('masks'), torch.Tensor):
        whole['masks'] = torch.ones(1, height, width, dtype=torch.bool)
    outputs[0].pred_instances = InstanceData(**whole)


def _attempt(
    runner: Runner, loop: ValLoop, number: int, answers: Answers | None
) -> tuple[str, list[str]]:
    """What is wrong with the evaluation, or '', and the names of its metrics."""
    answers = _answers(runner, loop, number) if answers is None else answers
    evaluator, total = loop.evaluator, len(loop.dataloader.dataset)
    kinds = ', '.join(type(metric).__name__ for metric in evaluator.metrics)
    with tempfile.TemporaryDirectory() as folder, borrowed(evaluator, Path(folder)), silent():
        cure = _cure_of(runner.cfg.get('val_evaluator'))
        with _failing(f'val_evaluator ({kinds})', cure):
            for batch, outputs in answers:
                evaluator.process(data_samples=outputs, data_batch=batch)
        for metric in evaluator.metrics:
            if getattr(metric, '_coco_api', None) is not None and hasattr(metric, 'img_ids'):
                # else all images of the file would be gone through, most of them without an answer
                metric.img_ids = [o.img_id for _, outputs in answers for o in outputs]
        try:
            metrics = evaluator.evaluate(number)
        except Exception as error:
            _pass_on(error)
            more = (
                '' if number == total else '; if it needs more images than that: '
                f'--cfg-options reliability.dry_run.images={min(4 * number, total)}'
            )
            return (
                f'dry run: val_evaluator ({kinds}) fails on {number} of {total} validation images '
                f'({_told(error)}){_then(error, cure)}{more}'
            ), []
    return _missing(runner, metrics), list(metrics)


def _cure_of(evaluator: Any) -> str:
    """Where to look when a configured one fails: itself, or the annotations that it reads."""
    metrics = evaluator if isinstance(evaluator, list) else [evaluator]
    given = [metric.get('ann_file') for metric in metrics if isinstance(metric, Mapping)]
    files = dict.fromkeys(filter(None, given))
    return ' or '.join(['mend val_evaluator', *(f'the annotations in {file}' for file in files)])


def _then(error: Exception, cure: str) -> str:
    """The cure, unless the error is one of ours, which says its own."""
    return '' if isinstance(error, UserError) else f': {cure}'


def _missing(runner: Runner, metrics: dict[str, Any]) -> str:
    """A metric that some part of the run waits for in vain, or ''."""
    given = ', '.join(metrics) or 'none at all'
    for name, entry in _awaited(runner):
        if name not in metrics:
            near = next(iter(difflib.get_close_matches(name, metrics, n=1, cutoff=0.0)), None)
            if entry == 'save_best':  # with None there is no best checkpoint
                cure = f'--cfg-options default_hooks.checkpoint.save_best={near}'
            else:
                cure = f'take {near} there' if near else 'leave it out'
            return f'dry run: {entry} names {name!r}, and val_evaluator gives {given}: {cure}'
    try:
        best_by(runner, metrics)
    except ValueError:
        return (
            f"dry run: save_best='auto' takes {next(iter(metrics))!r}, and nothing says whether "
            'more of it is better: --cfg-options default_hooks.checkpoint.rule=greater (or less)'
        )
    return ''


def _awaited(runner: Runner) -> Iterator[tuple[str, str]]:
    """Every metric that a run would miss at its first validation, and the entry that names it."""
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and hook.save_best:
            yield from ((name, 'save_best') for name in hook.key_indicators if name != 'auto')
        if isinstance(hook, EarlyStoppingHook) and hook.strict:
            yield hook.monitor, 'monitor of EarlyStoppingHook in custom_hooks'
    for schedule in runner.param_schedulers or ():
        if getattr(schedule, 'need_val_args', False) and schedule.by_epoch:
            yield schedule.monitor, f'monitor of {type(schedule).__name__} in param_scheduler'


def _export(runner: Runner) -> str:
    """What was written and read again, in words."""
    hook = next((h for h in runner.hooks if isinstance(h, WeightsExportHook)), None)
    if hook is None:
        return ''
    state = deployable_now(runner)
    _by_the_first(lambda: _reload(runner, state, hook._record(runner, runner.iter)))
    return 'weights.pth can be read again'


def _reload(runner: Runner, state: State, record: Record) -> None:
    # where remove_leftovers would find it, if the process is killed in between
    path = Path(runner.work_dir) / '.dry_run.0.tmp'
    with silent(), _failing('the export of weights.pth', 'mend model'):
        try:
            write_weights(path, state, {'student': record})
            check_record(json.loads(json.dumps(record)), 'weights.json')
            if not same(read_weights(path).state, state):
                raise ValueError('what is read is not what was written')
            problem = record['network'] and _fill(record['network'], str(path))
        finally:
            path.unlink(missing_ok=True)
    if problem:
        runner.logger.warning('weights.pth will not do without its config: %s', problem)


def _fill(network: Record, path: str) -> str:
    """Does the file fill the network that its record describes?

    Returns why the record is not enough, as of networks that open files; nothing if it is.
    """
    from ...students.build import build_student, check_network  # students know the engine

    try:
        check_network(network, read_weights(path, mmap=True))
    except UserError as error:
        return str(error)
    purpose = 'the student that weights.json describes'
    outlined(lambda: build_student(network, path, purpose, untrained=True))
    return ''


def _by_the_first(work: Callable[[], Any]) -> Any:
    """What the first process finds out, in all of them; if it fails, all do."""
    failure: Exception | None = None
    outcome: list[Any] = [None, '', False]
    if is_main_process():
        try:
            with single_process():
                outcome[0] = work()
        except Exception as error:
            failure = error
            outcome = [None, str(error) or type(error).__name__, isinstance(error, UserError)]
    broadcast_object_list(outcome)
    if failure is not None:
        raise failure
    if outcome[1]:
        raise (UserError if outcome[2] else RunError)(outcome[1])
    return outcome[0]


@contextmanager
def _failing(part: str, cure: str) -> Any:
    """Name the part of the dry run in what it raises."""
    try:
        yield
    except Exception as error:
        _pass_on(error)
        raise UserError(f'dry run: {part} fails ({_told(error)}){_then(error, cure)}') from error


def _pass_on(error: Exception) -> None:
    """What is the machine's doing is for others to explain."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
    if full or isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        raise error


def _told(error: Exception) -> str:
    """The message, with its type where that says more: a KeyError's is a bare name."""
    kind = '' if isinstance(error, UserError) else f'{type(error).__name__}: '
    return kind + one_line(error)
