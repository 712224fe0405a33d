"""Stop before the first step if the teacher is not what it should be, and watch it afterwards."""

from __future__ import annotations

from typing import Any

from mmengine.dist import all_gather_object, get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..tensors import tensors_in
from .access import bare_model


@HOOKS.register_module()
class TeacherGuardHook(Hook):
    """Checks that every rank has the same teacher, that it teaches, and that nothing trains it.

    Ranks with different teachers are how a randomly initialised decoder once went unnoticed in the
    published code: each process seeded it differently and the loss settled at the mean of them.

    Args:
        interval: steps between two looks at the teacher, beside the one at the first step: its
            weights are compared to those of the start and between ranks, and its answers to the
            images of a batch among each other. 0 looks at the first step only.
    """

    def __init__(self, interval: int = 1000) -> None:
        self.interval = interval
        self._constant = False
        self._first = True

    def before_train(self, runner: Runner) -> None:
        """Raise RuntimeError if ranks differ, or the teacher's parameters are optimised."""
        model = bare_model(runner)
        self._checksum = _common_checksum(model.teacher)
        taught = {id(parameter) for parameter in model.teacher.model.parameters()}
        trained = (p for g in runner.optim_wrapper.param_groups for p in g['params'])
        if any(id(parameter) in taught for parameter in trained):
            raise RuntimeError('the optimizer holds parameters of the teacher')
        runner.logger.info(
            'teacher %s, the same on %d rank(s)', self._checksum, get_world_size()
        )
        self._first = True

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Ask to hear the teacher's answer, at steps where it is looked at."""
        if self._is_time(runner):
            self._constant = False
            bare_model(runner).teacher.listener = self._listen

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Warn of an answer that is the same for all images; raise RuntimeError of new weights."""
        if not self._is_time(runner):
            return
        teacher = bare_model(runner).teacher
        teacher.listener, first, self._first = None, self._first, False
        if self._constant:
            runner.logger.warning(
                'the teacher is dead: it gives the same answer to all images of the batch of step '
                '%d, so there is nothing to learn from it; check its checkpoint, and that images '
                'are not normalised twice',
                runner.iter + 1,
            )
        if not first and _common_checksum(teacher) != self._checksum:
            raise RuntimeError(
                f'the weights of the frozen teacher changed before step {runner.iter + 1}: '
                'something trains it or writes into it'
            )

    def _is_time(self, runner: Runner) -> bool:
        return self._first or (self.interval > 0 and runner.iter % self.interval == 0)

    def _listen(self, answer: Any) -> None:
        self._constant = is_constant(answer)


def is_constant(answer: Any, tolerance: float = 1e-6) -> bool:
    """Whether tensors [B, ...] in any nesting are the same for all B > 1 samples.

    Args:
        answer: tensors, lists, tuples or dicts of them.
        tolerance: largest difference to the first sample, over the largest magnitude, that counts
            as none. Numbers that are not finite are an answer to nothing: constant.
    """
    tensors = [tensor for tensor in tensors_in(answer) if tensor.ndim > 1 and len(tensor) > 1]
    return bool(tensors) and all(
        not bool((t - t[:1]).abs().max() > tolerance * t.abs().max()) for t in tensors
    )


def _common_checksum(teacher: Any) -> str:
    """Digest of the teacher's weights on all ranks.

    Raises:
        RuntimeError: if they differ.
    """
    checksums = all_gather_object(teacher.checksum())
    if len(set(checksums)) > 1:
        raise RuntimeError(
            f'the ranks have different teachers (checksums {checksums}): give all of them the '
            'same checkpoint file'
        )
    return checksums[0]
