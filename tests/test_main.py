"""``g2sd COMMAND`` does what the script of that name does."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import g2sd_mm
from g2sd_mm import __main__ as command

TOOLS = Path(__file__).resolve().parents[1] / 'tools'


def test_every_script_has_its_command():
    scripts = {path.stem for path in TOOLS.glob('*.py')}
    assert set(command.COMMANDS) == scripts - {'benchmark'}  # which needs a checkout


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


def test_the_version_is_told(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['g2sd', '--version'])
    command.main()
    assert capsys.readouterr().out == f'{g2sd_mm.__version__}\n'


@pytest.mark.parametrize('name', command.COMMANDS)
def test_a_command_is_named_as_it_was_called(name, monkeypatch):
    parser = importlib.import_module(f'g2sd_mm.cli.{name}').parser
    monkeypatch.setattr(sys, 'argv', [f'tools/{name}.py', '--help'])
    assert f'usage: {name}.py ' in (script := parser().format_help())
    assert f'  python tools/{name}.py ' in script
    monkeypatch.setattr(sys, 'argv', [f'g2sd {name}', '--help'])
    assert f'usage: g2sd {name} ' in (short := parser().format_help())
    assert f'  g2sd {name} ' in short and 'python tools/' not in short


def test_an_error_names_commands_as_they_are_called(tmp_path):
    words = ['config', 'shapes/vitb_cls', '--cfg-options', 'model.type.x=1']
    done = subprocess.run(
        [sys.executable, '-m', 'g2sd_mm', *words], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert 'g2sd config ' in done.stderr and 'tools/' not in done.stderr


def test_the_benchmark_is_said_to_need_a_checkout():
    done = subprocess.run(
        [sys.executable, '-m', 'g2sd_mm', 'benchmark', '--quick'], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.count('\n') == 1 and 'python tools/benchmark.py' in done.stderr


def test_a_copy_of_the_script_without_the_benchmarks_says_so(tmp_path):
    (tmp_path / 'tools').mkdir()
    copy = tmp_path / 'tools' / 'benchmark.py'
    copy.write_text((TOOLS / 'benchmark.py').read_text())
    done = subprocess.run([sys.executable, str(copy)], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count('\n') == 1 and 'in a checkout' in done.stderr


def test_the_package_imports_nothing_of_the_checkout():
    package = Path(command.__file__).parent
    outside = re.compile(r'^\s*(from|import) (benchmarks|tests|tools)\b', re.MULTILINE)
    assert not [path for path in package.rglob('*.py') if outside.search(path.read_text())]


def test_another_word_is_one_line():
    done = subprocess.run(
        [sys.executable, '-m', 'g2sd_mm', 'trian'], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith('error: no command trian: there are train, test')
    assert done.stderr.count('\n') == 1
