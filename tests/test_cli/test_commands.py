"""The commands as people start them: help, exit codes, one line on stderr."""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from g2sd_mm.__main__ import COMMANDS
from g2sd_mm.cli.checkpoint import COMMANDS as SUBCOMMANDS

from ..helpers.toys import ROOT, run_python, run_tool

TOOLS = sorted(path.name for path in (ROOT / 'tools').glob('*.py'))

# Runs a tool's help and tells what it imported.
HELP = """
import runpy, sys
sys.argv = [sys.argv[1], '--help']
try:
    runpy.run_path(sys.argv[0], run_name='__main__')
except SystemExit as end:
    assert end.code == 0, end.code
heavy = {'torch', 'mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'mmseg', 'cv2', 'numpy'}
print('imported:', sorted(heavy & set(sys.modules)))
"""


def test_a_repeated_option_adds_to_what_was_given():
    """Every option that takes several words, of every command."""
    parsers = [
        module.parser() for name in COMMANDS
        if hasattr(module := importlib.import_module(f'g2sd_mm.cli.{name}'), 'parser')
    ]
    for parser in parsers:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
            elif action.option_strings and action.nargs in ('+', '*'):
                assert isinstance(action, argparse._ExtendAction), (parser.prog, action.dest)


def test_options_of_the_config_may_come_in_several_groups():
    from g2sd_mm.cli.options import take_choices
    from g2sd_mm.cli.train import parser
    from g2sd_mm.config.options import read_options

    words = '--cfg-options a=1 b=2 --read-as format=yolo --cfg-options b=3 --read-as voc=from-0'
    args = vars(parser().parse_args(['config.py', *words.split()]))
    assert read_options(args['cfg_options']) == {'a': 1, 'b': 3}
    assert take_choices(args).read_as == {'format': 'yolo', 'voc': 'from-0'}


def test_the_tools_of_the_front_doors_are_there():
    assert {'train.py', 'test.py', 'reproduce.py'} <= set(TOOLS)


@pytest.mark.parametrize('tool', TOOLS)
def test_help_is_quick_and_shows_examples(tool):
    done = run_python('-c', HELP, str(ROOT / 'tools' / tool))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == 'imported: []'
    assert 'examples:' in done.stdout
    assert done.stdout.count(f'python tools/{tool} ') >= 2


def examples(module: ModuleType) -> list[list[str]]:
    """The words of every ``python tools/...`` that a module shows."""
    lines = module.EXAMPLES.replace('\\\n', ' ').splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith('  python tools/')]


@pytest.mark.parametrize('name', [*COMMANDS, *(f'checkpoint_commands.{n}' for n in SUBCOMMANDS)])
def test_examples_are_command_lines_of_configs_that_there_are(name):
    shown = examples(importlib.import_module(f'g2sd_mm.cli.{name}'))
    assert len(shown) >= 2
    for script, *words in shown:
        command = importlib.import_module(f'g2sd_mm.cli.{Path(script).stem}')
        command.parser().parse_args(words)
        configs = [word for word in words if word.startswith('configs/')]
        assert all((ROOT / config).is_file() for config in configs), configs


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh'])
def test_scripts_say_how_they_are_used(script):
    done = subprocess.run(
        ['bash', str(ROOT / 'tools' / script)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f'usage: bash tools/{script} CONFIG')


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh'])
def test_runs_of_one_machine_do_not_take_the_same_port(script, tmp_path):
    stub = tmp_path / 'python'
    stub.write_text(f'#!/bin/bash\n[ "$1" = -c ] && exec {sys.executable} "$@"\necho "$@"\n')
    stub.chmod(0o755)

    def port(**variables: str) -> str:
        environment = {'PATH': os.environ['PATH'], 'PYTHON': str(stub), **variables}
        done = subprocess.run(
            ['bash', str(ROOT / 'tools' / script), 'CONFIG', '2', '2'],
            capture_output=True, text=True, env=environment, check=True,
        )
        return done.stdout.split('--master_port ')[1].split()[0]

    with socket.create_server(('127.0.0.1', int(port()))):
        pass  # it was free
    assert port() != '29500'
    assert port(PORT='1234') == port(PORT='1234', NNODES='2') == '1234'
    assert port(NNODES='2', NODE_RANK='1') == '29500'  # which all machines have to know


@pytest.mark.parametrize(('first', 'said'), [(True, 'top1 50.00 %\n'), (False, '')])
def test_figures_of_a_test_are_printed_by_one_process(first, said, monkeypatch, capsys):
    monkeypatch.setattr('mmengine.dist.is_main_process', lambda: first)
    monkeypatch.setattr('g2sd_mm.runs.test.evaluate', lambda **_: {'accuracy/top1': 50.0})
    command = importlib.import_module('g2sd_mm.cli.test')
    command._run(**vars(command.parser().parse_args(['config', 'weights'])))
    assert capsys.readouterr().out == said


def test_a_persons_error_is_one_line_and_exit_code_2(tmp_path):
    done = run_tool(
        'train.py', str(ROOT / 'configs/imagenet/vitb_cls.py'),
        '--cfg-options', 'num_classes=3', cwd=tmp_path, G2SD_DATA='/no/sets',
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith('error: no data at /no/sets/imagenet/train: lay it out as ')
    assert done.stdout == ''
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_option_is_argparses_business():
    done = run_python(str(ROOT / 'tools' / 'train.py'), 'config.py', '--epochs', '3')
    assert done.returncode == 2
    assert 'unrecognized arguments: --epochs 3' in done.stderr
