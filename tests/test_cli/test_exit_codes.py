"""How commands end."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import time
from fractions import Fraction

import pytest
import torch

from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.cli.exit_codes import resume_command, run_command, said_when_stopped
from g2sd_mm.config.options import read_options
from g2sd_mm.errors import DataError, Preempted, RunError, UserError

from ..helpers.toys import run_python


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('G2SD_TRACEBACK', raising=False)
    before = signal.getsignal(signal.SIGINT)
    yield tmp_path
    signal.signal(signal.SIGINT, before)


def fails(error: BaseException):
    def command() -> None:
        raise error

    return command


def ended(error: BaseException) -> int:
    with pytest.raises(SystemExit) as caught:
        run_command(fails(error))
    return caught.value.code


def test_success_is_silent(capsys):
    run_command(lambda: None)
    assert capsys.readouterr() == ('', '')


@pytest.mark.parametrize(
    'error',
    [
        UserError('no data at x:\n  lay it out'),
        CheckpointError('no data at x: lay it out'),
        FileNotFoundError('no data at x: lay it out'),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_persons_error_is_one_line_and_exit_code_2(error, capsys, tmp_path):
    assert ended(error) == 2
    assert capsys.readouterr() == ('', 'error: no data at x: lay it out\n')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('error', 'line'),
    [
        (ValueError('unknown arch'), 'ValueError: unknown arch'),
        (KeyError('no such\ntap'), 'KeyError: no such tap'),
        (IndexError(3), 'IndexError: 3'),
        (AttributeError('shape'), 'AttributeError: shape'),
        (AssertionError(), 'AssertionError'),
        (RuntimeError('a\n\n  b'), 'RuntimeError: a b'),
        (ZeroDivisionError('division by zero'), 'ZeroDivisionError: division by zero'),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_other_error_is_one_line_with_the_tracebacks_place(error, line, capsys, tmp_path):
    assert ended(error) == 1
    out, said = capsys.readouterr()
    assert out == ''
    place = r'tests/test_cli/test_exit_codes\.py:\d+'
    where = rf'\(in {place}\) \(traceback: work_dirs/last_error\.log\)'
    assert re.fullmatch(rf'error: {line} {where}\n', said)
    kept = (tmp_path / 'work_dirs' / 'last_error.log').read_text()
    assert kept.startswith('Traceback')
    assert type(error).__name__ in kept


def test_a_workers_traceback_is_left_out(capsys):
    text = (
        'Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call '
        'last):\n  File "a.py", line 1\ng2sd_mm.errors.DataError: a.png: cannot be read: x\n'
    )
    assert ended(DataError(text)) == 2
    assert capsys.readouterr().err == 'error: a.png: cannot be read: x\n'


def test_no_library_unpickles_without_limits_in_a_command(monkeypatch, tmp_path):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '0')
    torch.save({'call': Fraction(1)}, tmp_path / 'file.pth')

    def command() -> None:
        with pytest.raises(pickle.UnpicklingError):
            torch.load(tmp_path / 'file.pth', weights_only=False)

    run_command(command)
    assert os.environ['TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'] == '1'
    assert os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] == '0'


def test_the_traceback_can_be_asked_for(monkeypatch):
    monkeypatch.setenv('G2SD_TRACEBACK', '1')
    with pytest.raises(ValueError, match='unknown arch'):
        run_command(fails(ValueError('unknown arch')))
    assert ended(UserError('a line is enough')) == 2


def test_where_the_traceback_cannot_be_kept_it_can_be_asked_for(capsys, tmp_path):
    (tmp_path / 'work_dirs').write_text('a file')
    assert ended(ValueError('bad')) == 1
    assert capsys.readouterr().err.endswith(') (G2SD_TRACEBACK=1 shows where)\n')


def test_an_interrupt_is_130(capsys):
    assert ended(KeyboardInterrupt()) == 130
    assert capsys.readouterr() == ('', '')


TWICE = """
import atexit, os, signal, sys, time
from g2sd_mm.cli.exit_codes import run_command
# ignored where the tests run in the background of a script
signal.signal(signal.SIGINT, signal.default_int_handler)
def command():
    atexit.register(lambda: (os.kill(os.getpid(), signal.SIGINT), time.sleep(200)))
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(200)
run_command(command)
"""


def test_two_interrupts_are_silent():
    done = run_python('-c', TWICE, timeout=150)
    assert (done.returncode, done.stdout, done.stderr) == (130, '', '')


def test_a_command_that_ends_well_leaves_interrupts_as_they_were():
    before = signal.getsignal(signal.SIGINT)
    run_command(lambda: None)
    ended(UserError('x'))
    assert signal.getsignal(signal.SIGINT) is before


EARLY = """
import os, signal, sys
from g2sd_mm.cli import train
class Signal:
    def find_spec(self, name, *_):
        if name == 'torch':
            os.kill(os.getpid(), signal.{})
sys.meta_path.insert(0, Signal())
sys.argv = ['tools/train.py', 'config.py']
train.main()
"""


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGUSR1'])
def test_a_signal_while_libraries_are_loaded_is_a_request_to_end(name):
    done = run_python('-c', EARLY.format(name))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f'ended by {name} ')
    assert done.stdout.endswith('go on by: python tools/train.py config.py --resume\n')
    assert done.stderr == ''


def test_an_address_space_without_room_for_torch_is_a_persons_error():
    code = 'from g2sd_mm.cli.exit_codes import run_command as run; run(lambda: __import__("torch"))'
    shell = ['bash', '-c', 'ulimit -v 3000000; exec "$0" -c "$1"', sys.executable, code]
    done = subprocess.run(shell, capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith('error: torch cannot be imported') and 'ulimit -v 3000000' in line


def test_what_ended_a_run_is_one_line_without_a_traceback(capsys, tmp_path):
    assert ended(RunError('the disk is full')) == 1
    assert capsys.readouterr() == ('', 'error: the disk is full\n')
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_ended_on_request_says_how_it_goes_on(capsys, monkeypatch):
    argv = ['tools/train.py', 'a b.py', '--resume', 'x.pth', '--seed', '1']
    monkeypatch.setattr('sys.argv', argv)
    assert ended(Preempted('ended by SIGTERM, saved x')) == 0
    line = "ended by SIGTERM, saved x; go on by: python tools/train.py 'a b.py' --seed 1 --resume\n"
    assert capsys.readouterr() == (line, '')
    monkeypatch.setenv('WORLD_SIZE', '2')
    assert ended(Preempted('ended')) == 0
    assert capsys.readouterr().out == 'ended; go on by: the same command with --resume\n'
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'none')
    assert ended(Preempted('ended')) == 0
    line = "python -m torch.distributed.run --nproc_per_node 2 tools/train.py 'a b.py' --seed 1"
    assert capsys.readouterr().out == f'ended; go on by: {line} --resume\n'
    monkeypatch.setenv('RANK', '1')
    assert ended(Preempted('ended')) == 0
    assert capsys.readouterr() == ('', '')


@pytest.mark.parametrize(('words', 'command'), [
    (['t.py', 'c.py'], 'python t.py c.py --resume'),
    (['g2sd train', 'c.py', '--amp'], 'python -m g2sd_mm train c.py --amp --resume'),
    (['t.py', 'c.py', '--resume'], 'python t.py c.py --resume'),
    (['t.py', 'c.py', '--resume', '--amp'], 'python t.py c.py --amp --resume'),
    (['g2sd train', 'a b.py', '--resume', 'x.pth'], "python -m g2sd_mm train 'a b.py' --resume"),
    (['t.py', 'c.py', '--resume=x.pth', '--amp'], 'python t.py c.py --amp --resume'),
])
def test_the_command_goes_on_from_the_newest_checkpoint(words, command):
    assert resume_command(words) == command


def test_a_config_with_a_slip_of_the_pen_is_a_persons_error(capsys):
    assert ended(SyntaxError('invalid syntax (slip.py, line 3)')) == 2
    assert 'slip.py, line 3' in capsys.readouterr().err


def test_a_library_that_a_transform_misses_is_a_persons_error(capsys):
    assert ended(RuntimeError('albumentations is not installed')) == 2  # as mmdet raises it
    assert 'albumentations is not installed' in capsys.readouterr().err


def test_options_are_read_as_mmengine_reads_them():
    pairs = ['a.b=3', 'c=1e-3', 'd=[1,2]', 'e=text', 'f=x=y', 'g=True', 'h=None']
    options = read_options(pairs)
    assert options == {
        'a.b': 3, 'c': 1e-3, 'd': [1, 2], 'e': 'text', 'f': 'x=y', 'g': True, 'h': None,
    }


def test_an_option_without_a_value_is_refused():
    with pytest.raises(UserError, match=r"--cfg-options takes KEY=VALUE, got 'a\.b'"):
        read_options(['a.b'])


def test_an_error_line_has_no_control_characters(capsys):
    for kind in (UserError, CheckpointError, RunError, FileNotFoundError):
        ended(kind('no file a\x1b]0;title\x07\nerror: forged\x9b31m'))
        out, err = capsys.readouterr()
        assert out == '' and err.count('\n') == 1
        assert err.startswith(r'error: no file a\x1b]0;title\x07 error: forged\x9b31m')


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_command_that_is_stopped_says_how_it_goes_on(monkeypatch, capsys, number, code):
    before = signal.getsignal(signal.SIGTERM)
    left = []
    monkeypatch.setattr(os, '_exit', left.append)
    monkeypatch.setattr(sys, 'argv', ['g2sd distill', 'my images', '--epochs', '3'])
    with said_when_stopped('distill'):
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert left == [code]
    said = capsys.readouterr().out
    assert "the same command goes on: g2sd distill 'my images' --epochs 3" in said
    assert signal.getsignal(signal.SIGTERM) == before
