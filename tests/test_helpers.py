"""What the tests share: tools in forked processes, and configs that are parsed once."""

from __future__ import annotations

import multiprocessing
import os
import textwrap

import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger

from .helpers import toys


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Write a script of ``tools/``; returns its name."""
    monkeypatch.setattr(toys, 'ROOT', tmp_path)
    (tmp_path / 'tools').mkdir()

    def write(source: str) -> str:
        (tmp_path / 'tools' / 'tool.py').write_text(textwrap.dedent(source))
        return 'tool.py'

    return write


def test_a_tool_that_takes_too_long_is_ended(tool):
    before = multiprocessing.active_children()
    with pytest.raises(AssertionError, match='takes more than 1 seconds'):
        toys.run_tool(tool('import time; time.sleep(60)'), timeout=1)
    assert multiprocessing.active_children() == before


def test_a_tool_that_seeds_nothing_answers_otherwise_each_time(tool):
    name = tool(
        """
        import random, numpy, torch
        print(random.random(), numpy.random.rand(), torch.rand(1).item())
        """
    )
    one, two = (toys.run_tool(name).stdout.split() for _ in range(2))
    assert len(one) == 3 and not set(one) & set(two)


def test_what_a_tool_logs_is_its_own(tool):
    MMLogger.get_instance('of this test')
    name = tool(
        """
        import os
        from mmengine.logging import print_log
        print_log('logged', logger='current')
        print(os.environ['OMP_NUM_THREADS'], os.environ['PYTHONPATH'], os.environ['GIVEN'])
        """
    )
    done = toys.run_tool(name, GIVEN='given')
    assert done.returncode == 0 and 'logged' in done.stdout
    threads, path, given = done.stdout.split()[-3:]
    assert (threads, path.split(os.pathsep)[0], given) == ('1', str(toys.ROOT), 'given')


def test_a_config_that_is_not_there_is_missed_as_ever(tmp_path):
    said = []
    for folder in (toys.ROOT / 'configs', tmp_path):
        with pytest.raises(FileNotFoundError) as missed:
            Config._file2dict(str(folder / 'none.py'), lazy_import=False)
        said.append(str(missed.value).replace(str(folder), ''))
    assert said[0] == said[1]


def test_a_config_is_a_copy_of_what_was_parsed():
    file = str(toys.ROOT / 'configs' / 'shapes' / 'vits_deploy.py')
    one, two = Config.fromfile(file), Config.fromfile(file)
    one.model.backbone.arch = 'changed'
    assert two.model.backbone.arch != 'changed'
    assert Config.fromfile(file).model.backbone.arch == two.model.backbone.arch
