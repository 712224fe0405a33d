"""Run the commands of a launched suite, and read what they left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ..unexpected import account_of
from .commands import Launcher, evaluation_command, evaluation_file, train_command
from .jobs import end_with_parent
from .measure import agreed_metrics, measure_config
from .suites import Row, Step
from .work import raw_config, train_root, work_of

Result = dict[str, Any]


def launch(step: Step, seed: int, runs: Path, launcher: Launcher, resume: bool = False) -> Result:
    """Train a step by its command.

    Raises:
        RuntimeError: with the last line of the command's output, if it fails.
    """
    folder = runs / step.name
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    run_shell(train_command(step, seed, runs, launcher, resume), folder / 'train_output.log')
    seconds = time.perf_counter() - started
    cfg = raw_config(step.config, step.options)
    return {
        'config': step.config,
        'checkpoint': str(folder / 'weights.pth'),
        'train_seconds': round(seconds, 1),
        'images_seen': 0 if step.file else work_of(cfg).seen,
        'dataset': train_root(cfg).removeprefix('data/').split('/')[0],
        'metrics': {},
        **(measure_config(step.config) if cfg.model.get('backbone') else {}),
    }


def launch_test(step: Step, row: Row, runs: Path, launcher: Launcher) -> Result:
    """``metrics`` of a row's evaluation, or ``error``.

    An evaluation that was made before counts if it is newer than the weights and has the figure
    that the row is judged by: ImageNet-C, say, may have been there in part.
    """
    place, weights = evaluation_file(row, runs), runs / step.name / 'weights.pth'
    try:
        if place.is_file() and place.stat().st_mtime >= weights.stat().st_mtime:
            metrics = _metrics(place)
            if row.judged_by in metrics:
                return {'metrics': metrics}
        run_shell(
            evaluation_command(step, row, runs, launcher), runs / step.name / 'test_output.log'
        )
        return {'metrics': _metrics(place)}
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        return {'error': account_of(error).line}


def _metrics(evaluation: Path) -> dict[str, float]:
    return agreed_metrics(json.loads(evaluation.read_text())['metrics'])


def run_shell(command: str, log: Path) -> None:
    """Run a command line with this interpreter as ``python``; its output goes to ``log``.

    Raises:
        RuntimeError: with its error line, or the last one that it wrote.
    """
    here = str(Path(sys.executable).parent)
    environment = {**os.environ, 'PATH': here + os.pathsep + os.environ.get('PATH', '')}
    with log.open('w') as output:
        done = subprocess.run(
            ['bash', '-c', command],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            preexec_fn=lambda: end_with_parent(signal.SIGTERM),  # it saves, and ends
        )
    if done.returncode:
        lines = [line for line in log.read_text(errors='replace').splitlines() if line.strip()]
        told = [line.removeprefix('error: ') for line in lines if line.startswith('error: ')]
        last = (told or lines or ['no output'])[-1]
        raise RuntimeError(f'{last} (exit code {done.returncode}, {log})')
