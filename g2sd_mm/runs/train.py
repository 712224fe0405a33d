"""Train a config: both stages of every task, pre-training and plain fine-tuning."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from mmengine.runner import Runner

import g2sd_mm

from ..preemption import listening
from .failures import explained
from .prepare import prepare_training
from .processes import build_runner, end_workers, start_processes
from .work_dir import is_first_process


def train(
    config: str,
    options: dict[str, Any] | None = None,
    work_dir: str | None = None,
    launcher: str = 'none',
    verbose: bool = False,
    **prepared: Any,
) -> Runner:
    """Train a config in this process; the function behind ``tools/train.py``.

    Args are the command's; all but ``launcher`` and ``verbose`` go to
    :func:`~g2sd_mm.runs.prepare.prepare_training`.

    Returns:
        the finished runner.

    Raises:
        UserError, CheckpointError: with one line that says what to do, before the first step; the
            latter for any file of weights that does not fit its place in the config.
        RunError: with the cause in one line, if the machine ends the run (a full disk, too little
            memory, a lost process), or a number that is not finite.
        Preempted: when a signal asked the run to end, and it has saved.
    """
    with ExitStack() as stack:
        hold = stack if is_first_process(launcher) else None
        cfg = prepare_training(config, options, work_dir, hold=hold, **prepared)
        with listening(), explained(cfg):
            start_processes(cfg, launcher)
            runner = build_runner(g2sd_mm.distill_config(cfg), verbose)
            try:
                runner.train()
            finally:
                end_workers(runner)
    return runner
