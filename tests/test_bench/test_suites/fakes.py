"""A suite of four steps, and a stand-in for training them."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from g2sd_mm.bench.suites.suites import Row, Step, Suite
from g2sd_mm.errors import RunError

from ...helpers.toys import ROOT, run_tool

CONFIG = str(ROOT / 'configs' / 'shapes')


def suite(**options: Any) -> Suite:
    """A teacher and two students of it, one beside."""
    return Suite(
        name='toy',
        steps=(
            Step(f'{CONFIG}/vitb_mae.py', options=options),
            Step(f'{CONFIG}/vitb_cls.py', needs=('vitb_mae',)),
            Step(f'{CONFIG}/g2sd_vits_cls.py', needs=('vitb_cls',)),
            Step(f'{CONFIG}/vits_scratch_cls.py'),
        ),
        rows=(
            Row('cls', 'teacher', 'vitb_cls'),
            Row('cls', 'g2sd', 'g2sd_vits_cls'),
            Row('cls', 'scratch', 'vits_scratch_cls'),
        ),
    )


def run_forked(
    command: str, log: Path, prepare: Callable[[], None] = lambda: None, **_: Any
) -> None:
    """Stands for ``run_shell``: a command's tool, in a process that has imported everything."""
    python, tool, *arguments = shlex.split(command)
    assert python == 'python'
    done = run_tool(Path(tool).name, *arguments, prepare=prepare)
    log.write_text(done.stdout + done.stderr)
    if done.returncode:
        raise RunError(f'{done.stderr} (exit code {done.returncode}, {log})')


class Fake:
    """Stands for training: writes down what it was asked, and fails where it shall.

    Suites of several processes use it, so it writes into a file.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self.failing: str | None = None
        self.seconds = 0.0

    def __call__(
        self, step: Step, seed: int, runs: Path, launcher: Any, resume: bool = False, **how: Any
    ) -> dict[str, Any]:
        with self.log.open('a') as file:
            file.write(f'{seed} {step.name}' + ' resumed' * resume + '\n')
        if step.name == self.failing:
            raise RunError('out of\nmemory')
        time.sleep(self.seconds)
        checkpoint = runs / step.name / 'weights.pth'
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.write_text('')
        return {
            'config': step.config, 'checkpoint': str(checkpoint), 'train_seconds': 10.0,
            'images_seen': 100, 'dataset': 'shapes', 'metrics': {'top1': 50.0 + seed},
            'params_m': 1.0, 'gflops': 0.5,
        }

    def ran(self, seed: int = 0) -> list[str]:
        """Steps of a seed that ran since the last call."""
        lines = [line.split(maxsplit=1) for line in self.log.read_text().splitlines()]
        self.log.write_text('')
        return [name for number, name in lines if int(number) == seed]


ALL = ['vitb_mae', 'vitb_cls', 'g2sd_vits_cls', 'vits_scratch_cls']


def by_method(results: dict) -> dict[str, dict]:
    return {row['method']: row for row in results['rows']}
