"""Suites whose steps are commands: what runs, what is kept, and what a failure says."""

from __future__ import annotations

import json
import multiprocessing
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from g2sd_mm.bench.suites import launch as launch_module
from g2sd_mm.bench.suites.commands import HERE, Launcher, evaluation_command, train_command
from g2sd_mm.bench.suites.launch import launch, run_shell
from g2sd_mm.bench.suites.run import run_suite
from g2sd_mm.bench.suites.suites import Row, Step, Suite
from g2sd_mm.checkpoints.record import sidecar_path

from ...helpers import imagenet
from ...helpers.toys import ROOT

CONFIG = str(ROOT / 'configs' / 'imagenet')
SUITE = Suite(
    name='paper',
    steps=(
        Step(f'{CONFIG}/vitb_mae.py', amp=True),
        Step(f'{CONFIG}/vits_scratch_cls.py', needs=('vitb_mae',)),
    ),
    rows=(
        Row('cls', 'g2sd', 'vits_scratch_cls'),
        Row('cls', 'g2sd', 'vits_scratch_cls', 'robustness', 'imagenet_c', 'c.py', 'mCE'),
    ),
    launched=True,
)


@pytest.fixture
def shell(monkeypatch, tmp_path):
    """Stands for the shell: notes commands in a file, and writes what the tools would."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'c.py').write_text('')
    notes = tmp_path / 'notes'
    notes.write_text('')

    def run(command: str, log: Path, **how: object) -> None:
        words = shlex.split(command)
        with notes.open('a') as file:
            file.write(command + '\n')
        if 'tools/train.py' in words[1]:
            Path(words[words.index('--work-dir') + 1], 'weights.pth').write_text('')
        else:
            place = Path(words[words.index('--out') + 1])
            name = 'imagenet_c/mCE' if '--data' in words else 'accuracy/top1'
            place.write_text(json.dumps({'metrics': {name: 70.0}}))

    monkeypatch.setattr(launch_module, 'run_shell', run)
    monkeypatch.setattr(launch_module, 'measure_config', lambda *_: {'params_m': 1.0})
    return notes


def go(folder: Path, suite: Suite = SUITE, **kwargs) -> dict:
    one = Launcher('none', 1, amp=False)
    return run_suite(
        suite, suite.rows, [0], folder, say=lambda line: None, launcher=one, **kwargs
    )


def commands(notes: Path) -> list[str]:
    """Tools and configs that were run since the last call."""
    lines = [line.split() for line in notes.read_text().splitlines()]
    notes.write_text('')
    return [f'{Path(words[1]).stem} {Path(words[2]).stem}' for words in lines]


def test_steps_are_trained_and_rows_are_tested(shell, tmp_path):
    results = go(tmp_path / 'out')
    scratch = 'vits_scratch_cls'
    assert commands(shell) == ['train vitb_mae', f'train {scratch}', *[f'test {scratch}'] * 2]
    main, robust = results['rows']
    assert (main['metrics'], robust['metrics']) == ({'top1': 70.0}, {'mCE': 70.0})
    assert (robust['table'], robust['setting']) == ('robustness', 'imagenet_c')
    assert main['images_seen'] == 200 * 1251 * 1024
    assert main['dataset'] == 'imagenet'


def test_nothing_is_run_twice(shell, tmp_path):
    first = go(tmp_path / 'out')
    commands(shell)
    assert go(tmp_path / 'out')['rows'] == first['rows']
    assert commands(shell) == []


def test_an_evaluation_of_before_counts_if_it_has_the_figure(shell, tmp_path):
    """ImageNet-C without all of its corruptions has no mCE; later it may be whole."""
    first = go(tmp_path / 'out')
    commands(shell)
    files = sorted((tmp_path / 'out').rglob('test_c.json'))
    content = json.loads(files[0].read_text())
    files[0].write_text(json.dumps({'metrics': {'imagenet_c/top1': 0.5}}))
    again = go(tmp_path / 'out')
    assert commands(shell) == ['test vits_scratch_cls']
    assert again['rows'] == first['rows'] and json.loads(files[0].read_text()) == content


def test_resume_is_handed_to_the_runs(shell, tmp_path):
    go(tmp_path / 'out', resume=True)
    lines = shell.read_text().splitlines()
    assert ['--resume' in line.split() for line in lines] == [True, True, False, False]


def test_an_evaluation_without_its_figure_is_a_failed_row(shell, tmp_path):
    rows = (replace(SUITE.rows[0], metric='mCE'),)
    (row,) = go(tmp_path / 'out', replace(SUITE, rows=rows))['rows']
    assert row['error'].startswith('its evaluation gave no mCE')


def test_a_failing_command_says_its_error_line(tmp_path):
    with pytest.raises(RuntimeError, match=r'^no data at x \(exit code 2, .*train\.log\)'):
        run_shell('echo "error: no data at x" >&2; echo bye; exit 2', tmp_path / 'train.log')
    with pytest.raises(RuntimeError, match=r'^killed \(exit code 9'):
        run_shell('echo killed; exit 9', tmp_path / 'train.log')


def test_a_killed_command_says_so(tmp_path):
    with pytest.raises(RuntimeError, match=r'SIGKILL.*memory.*exit code -9'):
        run_shell('echo step 3; kill -9 $$', tmp_path / 'train.log')


def test_a_command_gets_its_share_of_the_cores(tmp_path):
    code = 'import os; print(os.environ["OMP_NUM_THREADS"], os.nice(0))'
    run_shell(f"python -c '{code}'", tmp_path / 'log', threads=3, nice=5, single=True)
    threads, nice = (tmp_path / 'log').read_text().split()
    assert threads == '3' and int(nice) >= 5


@pytest.mark.parametrize('single', [True, False])
def test_commands_end_when_the_process_that_started_them_is_killed(tmp_path, single):
    note = tmp_path / 'process'
    command = f"sh -c 'echo $$ > {note}; exec sleep 60'"
    starter = multiprocessing.get_context('fork').Process(
        target=run_shell, args=(command, tmp_path / 'log'), kwargs={'single': single}
    )
    starter.start()
    while not note.is_file() or not note.read_text().strip():
        assert starter.is_alive()
        time.sleep(0.01)
    starter.kill()
    starter.join()
    end = time.monotonic() + 20
    while _runs(int(note.read_text())) and time.monotonic() < end:
        time.sleep(0.01)
    assert not _runs(int(note.read_text()))


def _runs(process: int) -> bool:
    """Whether it is there, and not merely waits for somebody to take note of its end."""
    try:
        state = Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[0]
    except OSError:
        return False
    return state != 'Z'


def test_a_run_that_was_asked_to_end_is_no_finished_run(tmp_path, monkeypatch):
    """It saves and exits with 0, and has no weights yet."""
    monkeypatch.setattr(launch_module, 'run_shell', lambda *_, **__: None)
    with pytest.raises(RuntimeError, match='before its last step'):
        launch_module.launch(SUITE.steps[0], 0, tmp_path, Launcher('none', 1, amp=False))


def test_python_is_this_one(tmp_path):
    run_shell('python -c "import sys; print(sys.prefix)"', tmp_path / 'log')
    assert (tmp_path / 'log').read_text().strip() == sys.prefix


@pytest.mark.slow
def test_torchrun_trains_and_leaves_its_weights(image_data, tmp_path, monkeypatch):
    """The real command, one process, at toy size."""
    monkeypatch.setenv('G2SD_DATA', str(image_data))
    monkeypatch.chdir(ROOT)
    toy = imagenet.plain('demo-student', **{'train_cfg.max_epochs': 1})
    toy |= {'param_scheduler.0.warmup': 0, 'auto_scale_lr.base_batch_size': 6}
    step = Step('configs/imagenet/vits_scratch_cls.py', options=toy, label='vits_toy')
    monkeypatch.setenv('PORT', '29611')
    result = launch_module.launch(step, 0, tmp_path, Launcher('pytorch', 1, amp=False))
    assert Path(result['checkpoint']) == tmp_path / 'vits_toy' / 'weights.pth'
    assert Path(result['checkpoint']).is_file()
    assert result['params_m'] == pytest.approx(0.214, abs=0.001)  # with the step's options
    assert (tmp_path / 'vits_toy' / 'train_output.log').stat().st_size


def test_a_given_file_stands_where_the_runs_would_with_what_is_said_of_it(tmp_path):
    file = tmp_path / 'given' / 'vitb_mae.safetensors'
    file.parent.mkdir()
    file.write_bytes(b'weights')
    sidecar_path(file).write_text(json.dumps({'network': None, 'origin': {}}))
    step = Step(f'{CONFIG}/vitb_mae.py', file=str(file))
    for _ in range(2):  # a suite that goes on does it again
        result = launch(step, 0, tmp_path / 'runs', HERE, single=True)
    assert result['images_seen'] == 0 and result['metrics'] == {}
    weights = tmp_path / 'runs' / 'vitb_mae' / 'weights.pth'
    assert weights.resolve() == file
    assert sidecar_path(weights).resolve() == sidecar_path(file)


def test_a_shell_runs_nothing_of_what_names_and_options_say(tmp_path, monkeypatch):
    """Every text that a person gave is one word of the command line, in every kind of launch."""
    monkeypatch.chdir(tmp_path)
    nasty = "x'; touch victim; `touch victim` $(touch victim) \n&"
    step = Step(f'{CONFIG}/vitb_mae.py', options={'train_dataloader.dataset.note': nasty})
    runs = tmp_path / nasty
    runs.mkdir()
    row = Row('cls', 'g2sd', step.name, 'robustness', 'imagenet_c', nasty, 'mCE')
    for launcher in (
        Launcher('none', 1, amp=False),
        Launcher('pytorch', 8),
        Launcher('slurm', 8, partition=nasty),
    ):
        for command in (
            train_command(step, 0, runs, launcher),
            train_command(replace(step, file=nasty), 0, runs, launcher),
            evaluation_command(step, row, runs, launcher),
        ):
            harmless = command.replace('python ', ': ', 1).replace('bash ', ': ', 1)
            run_shell(harmless, tmp_path / 'log')
            assert any(nasty in word for word in shlex.split(command)), command
    assert not (tmp_path / 'victim').exists()
