"""Run the commands of a suite's steps, go on with what was begun, and read what they left."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import count
from pathlib import Path
from typing import Any

from ...checkpoints.integrity import POINTER
from ...checkpoints.record import read_sidecar
from ...errors import RunError
from ...unexpected import account_of
from ...whole_files import write_text
from ..logs import read_progress, read_scalars, training_seconds
from ..results import dataset_name
from .budget import raw_config, train_root, work_of
from .commands import Launcher, evaluation_command, evaluation_file, train_command, write_config
from .measure import agreed_metrics, measure_config
from .suites import Row, Step

Result = dict[str, Any]

_PR_SET_PDEATHSIG = 1  # of prctl(2)
# loaded here: nothing may be loaded between fork and exec
_LIBC = ctypes.CDLL(None)
#: Note in a run's folder: the configuration that it was begun with, when, and seconds so far.
BEGUN = 'begun.json'
_running: set[subprocess.Popen] = set()
_measuring = threading.Lock()


def begin(run: Path, digest: str, resume: bool = False) -> float | None:
    """Note in a run's folder that it begins, or goes on from its newest checkpoint.

    It goes on if it was begun with the same configuration. A folder of anything else is set aside
    as ``<run>_before_<N>``: it may be the work of weeks.

    Args:
        run: work dir.
        digest: of the configuration.
        resume: go on too where nothing is noted: the run was begun by hand.

    Returns:
        seconds that the run took up to the checkpoint that it goes on from; None for a new run.
    """
    place, pointer = run / BEGUN, run / POINTER
    note = json.loads(place.read_text()) if place.is_file() else None
    goes_on = note['digest'] == digest if note else resume
    seconds = 0.0
    if not goes_on:
        if run.is_dir() and any(run.iterdir()):
            names = (run.with_name(f'{run.name}_before_{number}') for number in count(1))
            run.rename(next(name for name in names if not name.exists()))
    elif note:
        saved = pointer.stat().st_mtime if pointer.is_file() else 0.0
        if progress := read_progress(run):  # a copy has the time of copying
            saved = min(saved, progress['time'])
        seconds = note['seconds'] + max(saved - note['started'], 0.0)
    else:  # begun by hand: what its log knows of
        seconds = training_seconds(read_scalars(run)) or 0.0
    run.mkdir(parents=True, exist_ok=True)
    now = {'digest': digest, 'started': time.time(), 'seconds': round(seconds, 1)}
    write_text(place, json.dumps(now))
    return seconds if goes_on else None


def launch(
    step: Step, seed: int, runs: Path, launcher: Launcher, resume: bool = False, **how: Any
) -> Result:
    """Train a step by its command, in a folder of ``runs``; ``how`` is of :func:`run_shell`.

    Raises:
        RunError: with the last line of the command's output, if it fails.
    """
    folder = runs / step.name
    folder.mkdir(parents=True, exist_ok=True)
    write_config(step, runs, launcher)
    command = train_command(step, seed, runs, launcher, resume)
    started = time.perf_counter()
    log = folder / 'train_output.log'
    # a ready-made file is linked by several commands of the shell
    run_shell(command, log, **(how | {'single': False} if step.file else how))
    seconds = time.perf_counter() - started
    if not (folder / 'weights.pth').exists():
        raise RunError(f'the run ended before its last step ({log})')
    cfg = raw_config(step.config, step.options)
    origin = (read_sidecar(folder / 'weights.pth') or {}).get('origin', {})
    trained = 0 if step.file else origin.get('iter')
    here = not launcher.fits_batch
    batch = cfg.train_dataloader.batch_size if here else cfg.auto_scale_lr.base_batch_size
    return {
        'config': step.config,
        'checkpoint': str(folder / 'weights.pth'),
        'train_seconds': round(seconds, 1),
        # as the run counted them: own data may have fewer images than the config says
        'images_seen': work_of(cfg).seen if trained is None else trained * batch,
        'dataset': dataset_name(train_root(cfg)),
        'metrics': {} if step.file else _trained(folder, origin),
        **({'given': True} if step.file else {}),
        **(_measured(step) if cfg.model.get('backbone') else {}),
    }


def _measured(step: Step) -> dict[str, float]:
    with _measuring:  # registries have one scope at a time
        return measure_config(step.config, step.options)


def launch_test(
    step: Step, row: Row, runs: Path, launcher: Launcher, digest: str = '', **how: Any
) -> Result:
    """``metrics`` of a row's evaluation, or ``error``.

    An evaluation that was made before counts if it is of the same weights and test data (``digest``
    is the row's), newer than the weights, and has the figure that the row is judged by:
    ImageNet-C, say, may have been there in part.
    """
    place, weights = evaluation_file(row, runs), runs / step.name / 'weights.pth'
    note = place.with_suffix('.digest')
    try:
        same = note.is_file() and note.read_text() == digest
        if same and place.is_file() and place.stat().st_mtime >= weights.stat().st_mtime:
            metrics = _metrics(place)
            if row.judged_by in metrics:
                return {'metrics': metrics}
        write_config(step, runs, launcher)
        command = evaluation_command(step, row, runs, launcher)
        run_shell(command, runs / step.name / 'test_output.log', **how)
        metrics = _metrics(place)
        note.write_text(digest)
        return {'metrics': metrics}
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        return {'error': account_of(error).line}


def _metrics(evaluation: Path) -> dict[str, float]:
    return agreed_metrics(json.loads(evaluation.read_text())['metrics'])


def _trained(folder: Path, origin: Result) -> dict[str, float]:
    """The last validation's figures (a run ends with one), or the last training loss."""
    if found := agreed_metrics(origin.get('metrics') or {}):
        return found
    losses = [entry['loss'] for entry in read_scalars(folder) if 'loss' in entry]
    return {'loss': float(losses[-1])} if losses else {}


def run_shell(
    command: str, log: Path, threads: int | None = None, nice: int = 0, single: bool = False
) -> None:
    """Run a command line with this interpreter as ``python``; its output goes to ``log``.

    The command ends with this process, however that ended.

    Args:
        command: for bash.
        log: file.
        threads: that it computes on; None leaves the choice to it.
        nice: by how much it makes way for others.
        single: whether it is one process, that can be ended without being asked to save.

    Raises:
        RunError: with its error line, or the last one that it wrote.
    """
    here = str(Path(sys.executable).parent)
    environment = {**os.environ, 'PATH': here + os.pathsep + os.environ.get('PATH', '')}
    if threads:
        environment |= {'OMP_NUM_THREADS': str(threads), 'MKL_NUM_THREADS': str(threads)}
    # one process dies at once and leaves the folder to the next start; a launcher's are asked to
    # save, since they may be on other machines
    ending = signal.SIGKILL if single else signal.SIGTERM

    def prepare() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, ending)
        if nice:
            os.nice(nice)

    with log.open('w') as output:
        process = subprocess.Popen(
            ['bash', '-c', f'exec {command}' if single else command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            preexec_fn=prepare,
        )
        _running.add(process)
        try:
            code = process.wait()
        finally:
            _running.discard(process)
    if code:
        lines = [line for line in log.read_text(errors='replace').splitlines() if line.strip()]
        said = [line.removeprefix('error: ') for line in lines if line.startswith('error: ')]
        last = (said or [_killed(code)] if code < 0 else said or lines or ['no output'])[-1]
        raise RunError(f'{last} (exit code {code}, {log})')


def _killed(code: int) -> str:
    """What a negative exit code means: the last line that such a process wrote tells nothing."""
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f'signal {-code}'
    why = ': by the system, if memory ran out (try --jobs 1)' if name == 'SIGKILL' else ''
    return f'killed with {name}{why}'


def end_all() -> None:
    """End every command that is running: the suite is over, or was interrupted."""
    left = list(_running)  # threads change the set meanwhile
    for process in left:
        process.terminate()
    for process in left:
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
