"""Stop before the first step if the teacher is not what it should be."""

from __future__ import annotations

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from .access import bare_model


@HOOKS.register_module()
class TeacherGuardHook(Hook):
    """Checks that every rank has the same teacher and that nothing would train or save it.

    Ranks with different teachers are how a randomly initialised decoder once went unnoticed in the
    published code: each process seeded it differently and the loss settled at the mean of them.
    """

    def before_train(self, runner: Runner) -> None:
        """Raise RuntimeError if ranks differ, or the teacher's parameters are optimised."""
        model = bare_model(runner)
        checksums = all_gather_object(model.teacher.checksum())
        if len(set(checksums)) > 1:
            raise RuntimeError(
                f'the ranks have different teachers (checksums {checksums}): give all of them the '
                'same checkpoint file'
            )
        taught = {id(parameter) for parameter in model.teacher.model.parameters()}
        trained = (p for g in runner.optim_wrapper.param_groups for p in g['params'])
        if any(id(parameter) in taught for parameter in trained):
            raise RuntimeError('the optimizer holds parameters of the teacher')
        runner.logger.info('teacher %s, the same on %d rank(s)', checksums[0], len(checksums))
