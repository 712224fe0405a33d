"""Every command line that a page shows is one that the tools take, run or not."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest
from mmengine.config import Config, ConfigDict

from g2sd_mm.__main__ import COMMANDS
from g2sd_mm.config.load import load_config
from g2sd_mm.config.options import read_options
from g2sd_mm.config.project import find_config

from ..helpers.toys import ROOT
from .test_pages import PAGES

_SHELL = re.compile(r'^```bash\n(.*?)^```$', re.DOTALL | re.MULTILINE)
_PREFIX = re.compile(r'^(?:[A-Z0-9_]+=\S+ )*')  # variables of the command
_ENDS = re.compile(r'\s[|>;&]|\s2>')  # what the shell does with it


def lines(page: str) -> list[str]:
    """The command lines in a page's blocks of shell, continued lines joined."""
    blocks = (block.replace('\\\n', ' ') for block in _SHELL.findall(page))
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


def command_of(line: str) -> tuple[str, list[str]] | None:
    """Command of ours, and the words that it gets; None for other programs' lines."""
    if '||' in line or line.partition(' | ')[0].endswith(' --help'):
        return None  # shown for its error, or for its help
    line = _PREFIX.sub('', line)
    line = line[: found.start()] if (found := _ENDS.search(line)) else line
    words = shlex.split(line, comments=True)
    if words[:3] == ['python', '-m', 'g2sd_mm']:
        words = ['g2sd', *words[3:]]
    if words[:1] == ['g2sd'] and len(words) > 1:
        return words[1], words[2:]
    if words[:1] == ['python'] and len(words) > 1 and words[1].startswith('tools/'):
        assert (ROOT / words[1]).is_file(), words[1]
        return Path(words[1]).stem, words[2:]
    if words[:1] == ['bash'] and len(words) > 1 and words[1].startswith('tools/'):
        assert (ROOT / words[1]).is_file(), words[1]
        kind, _, name = Path(words[1]).stem.partition('_')
        own = words[2:]
        return name, own[2:] if kind == 'slurm' else without_processes(name, own)
    return None


def without_processes(name: str, words: list[str]) -> list[str]:
    """CONFIG N ... of ``dist_train.sh``, CONFIG CHECKPOINT N ... of ``dist_test.sh``."""
    at = {'train': 1, 'test': 2}[name]
    assert words[at].isdigit(), words
    return words[:at] + words[at + 1 :]


SHOWN = [
    pytest.param(*found, id=f'{page.relative_to(ROOT)}: {line[:60]}')
    for page in PAGES
    for line in lines(page.read_text())
    if (found := command_of(line))
]


def test_the_pages_show_many():
    assert len(SHOWN) > 80
    assert {command for command, _ in (shown.values for shown in SHOWN)} >= set(COMMANDS)


@pytest.mark.parametrize(('command', 'words'), SHOWN)
def test_a_shown_command_line_is_taken(command, words):
    assert command in (*COMMANDS, 'benchmark')
    module = 'benchmarks.speed.command' if command == 'benchmark' else f'g2sd_mm.cli.{command}'
    taken = importlib.import_module(module).parser().parse_args(words)
    for path in (word for word in words if word.startswith('configs/')):
        assert (ROOT / path).is_file(), path
    check_options(taken)


def check_options(taken: argparse.Namespace) -> None:
    """The entries that ``--cfg-options`` overrides are entries of the config that is named."""
    options = getattr(taken, 'cfg_options', None) or []
    config = str(getattr(taken, 'config', ''))
    if not config.startswith('configs/') or any('$' in option for option in options):
        return  # a config that the page's reader writes, or options that the shell puts in
    options = read_options(options)
    before = Config.fromfile(find_config(config))
    for key in options:
        *parents, _ = key.split('.')
        assert isinstance(entry(before, parents), (Config, ConfigDict, list)), key
    load_config(config, options)


def entry(cfg: Config | ConfigDict | list, keys: list[str]) -> object:
    for key in keys:
        cfg = cfg[int(key)] if isinstance(cfg, list) else cfg[key]
    return cfg


@pytest.mark.parametrize(
    'line',
    [
        'python tools/train.py configs/shapes/vitb_mae.py --epochs 3',
        'bash tools/dist_train.sh configs/imagenet/g2sd_vits_generic.py 8 --apm',
        'g2sd export work_dirs/x --int9  # small',
    ],
)
def test_an_option_that_there_is_not_is_found_out(line, capsys):
    with pytest.raises(SystemExit):
        test_a_shown_command_line_is_taken(*command_of(line))
    assert 'unrecognized arguments: --' in capsys.readouterr().err


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_an_option_in_the_text_is_read_as_its_value(page):
    for word in re.findall(r'`([a-z_]+(?:\.\w+)+=[^`\s]+)`', page.read_text()):
        for key, value in read_options(shlex.split(word)).items():
            assert not (isinstance(value, str) and '(' in value), f'{key} is text: {value}'


def test_an_entry_that_there_is_not_is_found_out():
    line = 'python tools/train.py configs/shapes/vitb_cls.py --cfg-options model.bone.depth=3'
    with pytest.raises(KeyError, match='bone'):
        test_a_shown_command_line_is_taken(*command_of(line))
