"""Say in the log what is lacking in the labels, before the first step."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class DataNotesHook(Hook):
    """Warns of what :func:`~g2sd_mm.data_checks.before_training.check_training_data` found.

    Args:
        notes: a line each.
    """

    def __init__(self, notes: Sequence[str] = ()) -> None:
        self.notes = tuple(notes)

    def before_train(self, runner: Runner) -> None:
        """Once, when the log file of the run is there."""
        for note in self.notes:
            runner.logger.warning(note)
