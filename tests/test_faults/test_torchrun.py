"""Runs under torchrun, started by ``tools/dist_train.sh`` as people start them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from benchmarks.faults.tasks import data_in, make_tasks, quick_folder

from ..helpers.toys import ROOT, free_port


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGUSR1])
def test_the_script_hands_signals_on(number):
    with quick_folder() as folder, data_in(folder):
        task = make_tasks(folder, {'stage1': 2}, **{'train_cfg.max_epochs': 200})['stage1']
        log, work_dir = folder / 'log', folder / 'run'
        with log.open('w') as output:
            script = subprocess.Popen(
                ['bash', str(ROOT / 'tools' / 'dist_train.sh'), task.config, '2', '--work-dir',
                 str(work_dir), '--verbose'],
                stdout=output, stderr=subprocess.STDOUT, cwd=ROOT,
                env={
                    **os.environ, 'PYTHON': sys.executable, 'PYTHONPATH': str(ROOT),
                    'PORT': str(free_port()), 'OMP_NUM_THREADS': '1',
                },
            )
        try:
            wait_for(lambda: '[2][2/5]' in log.read_text(), script, log)
            script.send_signal(number)
            assert script.wait(120) == 0, log.read_text()[-2000:]
        finally:
            script.kill()
        said = log.read_text()
        assert said.count('go on by: python ') == 1
        assert 'Traceback' not in said
        assert len(list(work_dir.glob('epoch_*.pth'))) > 0


def wait_for(condition, script, log, timeout: float = 240) -> None:
    end = time.perf_counter() + timeout
    while not condition():
        assert script.poll() is None, log.read_text()[-2000:]
        assert time.perf_counter() < end, log.read_text()[-2000:]
        time.sleep(0.1)
