"""``g2sd COMMAND`` does what the script of that name does."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from g2sd_mm import __main__ as command

TOOLS = Path(__file__).resolve().parents[1] / 'tools'


def test_every_script_has_its_command():
    assert sorted(command.COMMANDS) == sorted(path.stem for path in TOOLS.glob('*.py'))


@pytest.mark.parametrize('name', command.COMMANDS)
def test_a_command_is_the_scripts_function(name, monkeypatch):
    called = []
    assert f'from g2sd_mm.cli.{name} import main' in (TOOLS / f'{name}.py').read_text()
    module = importlib.import_module(f'g2sd_mm.cli.{name}')
    monkeypatch.setattr(module, 'main', lambda: called.append(sys.argv))
    monkeypatch.setattr(sys, 'argv', ['g2sd', name, 'x', '--seed', '1'])
    command.main()
    assert called == [[f'g2sd {name}', 'x', '--seed', '1']]


@pytest.mark.parametrize('arguments', [[], ['--help']])
def test_help_names_every_command(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['g2sd', *arguments])
    command.main()
    said = capsys.readouterr().out
    assert all(f'  {name} ' in said for name in command.COMMANDS)


def test_another_word_is_one_line():
    done = subprocess.run(
        [sys.executable, '-m', 'g2sd_mm', 'trian'], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith('error: no command trian: there are train, test')
    assert done.stderr.count('\n') == 1
