"""Evaluate weights on the test data of a config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process

from ..checkpoints.fill import fill
from ..students.load import fit_to_weights
from .agreement import agree_for_test
from .prepare import prepare_test
from .processes import build_runner, end_workers, start_processes


def evaluate(
    config: str,
    checkpoint: str,
    options: dict[str, Any] | None = None,
    work_dir: str | None = None,
    out: str | None = None,
    launcher: str = 'none',
    verbose: bool = False,
    **prepared: Any,
) -> dict[str, float]:
    """Evaluate weights in this process; the function behind ``tools/test.py``.

    Args are the command's; those that are not named here go to
    :func:`~g2sd_mm.runs.prepare.prepare_test`.

    Returns:
        metrics by name, as the evaluator calls them.

    Raises:
        UserError: if the config has nothing to test.
        CheckpointError: if the file does not fit the student exactly.
    """
    cfg = prepare_test(config, options, work_dir, **prepared)
    fit_to_weights(cfg, checkpoint)
    agree_for_test(cfg, checkpoint, config)
    start_processes(cfg, launcher)
    runner = build_runner(cfg, verbose)
    model = runner.model
    while hasattr(model, 'module'):  # inside of DDP, inside of test-time augmentation
        model = model.module
    fill(model, checkpoint, 'student', config)
    try:
        metrics = {name: float(value) for name, value in runner.test().items()}
    finally:
        end_workers(runner)
    if out and is_main_process():
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(
            json.dumps({'config': config, 'checkpoint': checkpoint, 'metrics': metrics}, indent=2)
        )
    return metrics
