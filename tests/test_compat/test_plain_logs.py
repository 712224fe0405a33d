"""What is logged stays in its line."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from g2sd_mm.cli.streams import printable_logs

from ..helpers.toys import Lines

FORGED = 'x\x1b[2J\nerror: forged'


@pytest.fixture
def logger():
    made = logging.getLogger('test_plain_logs')
    made.propagate = False
    made.addHandler(lines := Lines())
    yield made, lines.lines
    made.removeHandler(lines)


@pytest.mark.parametrize('name', [FORGED, Path(FORGED), ValueError(FORGED)], ids=type)
def test_names_are_escaped(logger, name):
    log, lines = logger
    with printable_logs():
        log.warning('%d of\n%s', 3, name)
    assert lines == ['3 of\nx\\x1b[2J\\nerror: forged']


def test_messages_keep_their_lines_and_nothing_else(logger):
    log, lines = logger
    with printable_logs():
        log.warning(f'a\tb\n{FORGED}')
        log.warning('100 %', extra={'x': 1})
        log.warning('%(x)s', {'x': 1})
    log.warning(FORGED)
    assert lines == ['a\tb\nx\\x1b[2J\nerror: forged', '100 %', '1', FORGED]
