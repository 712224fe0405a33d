"""No command depends on where its output goes."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from g2sd_mm.cli.streams import lasting_streams, printable_logs

from ..helpers.toys import ROOT, Lines

SAYS = """
    import os, sys
    import g2sd_mm
    from g2sd_mm.cli.exit_codes import run_command
    from g2sd_mm.errors import UserError

    def command():
        import logging
        handler = logging.StreamHandler(sys.stdout)
        for i in range(3000):
            print('a line', i)
            handler.emit(logging.makeLogRecord({'msg': 'logged'}))
        os.write(1, b'by a library in C')  # never into a file of the command
        open('done', 'w').write('whole')
        if len(sys.argv) > 1:
            raise UserError('as expected')

    run_command(command)
"""


def ended(tmp_path, redirection: str, *arguments: str) -> tuple[int, str]:
    """Exit code and stderr of a talkative command under a shell's redirection."""
    script = tmp_path / 'says.py'
    script.write_text(textwrap.dedent(SAYS))
    line = f'set -o pipefail; "$0" "$@" {redirection}'
    done = subprocess.run(
        ['bash', '-c', line, sys.executable, str(script), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    assert (tmp_path / 'done').read_text() == 'whole'
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    'redirection', ['>&-', '<&- >&-', '<&- >&- 2>&-', '| head -1 > first', '> /dev/full']
)
def test_a_command_goes_on_and_its_exit_code_is_its_own(tmp_path, redirection):
    code, said = ended(tmp_path, redirection)
    assert code == 0
    full = 'warning: stdout cannot be written (No space left on device)'
    assert said.count('\n') == said.count(full) == (redirection == '> /dev/full')
    (tmp_path / 'done').unlink()
    code, said = ended(tmp_path, redirection, 'fail')
    assert code == 2
    if '2>&-' not in redirection:
        assert said.splitlines()[-1] == 'error: as expected'


def test_what_a_reader_takes_reaches_it(tmp_path):
    ended(tmp_path, '| head -2 > first')
    assert (tmp_path / 'first').read_text() == 'a line 0\nlogged\n'


def test_stderr_may_be_full_as_well(tmp_path):
    assert ended(tmp_path, '> /dev/full 2> /dev/full')[0] == 0


def test_letters_that_the_terminal_lacks_are_escaped(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(raw, encoding='ascii'))
    with lasting_streams():
        print('größe \udcff')
    assert raw.getvalue() == b'gr\\xf6\\xdfe \\udcff\n'


def test_a_stream_that_was_closed_meanwhile_is_lost_in_silence(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, 'stdout', stream)
    with lasting_streams():
        stream.close()
        print('nothing comes of it')


def test_the_streams_are_given_back():
    before = sys.stdout, sys.stderr
    with pytest.raises(KeyError), lasting_streams():
        assert sys.stdout.encoding == before[0].encoding
        raise KeyError
    assert (sys.stdout, sys.stderr) == before


def test_files_are_utf8_in_any_locale(tmp_path):
    """Without Python's own help for the C locale, as in one with another encoding."""
    script = tmp_path / 'writes.py'
    script.write_text(
        'from pathlib import Path\n'
        'import g2sd_mm, sys\n'
        'from g2sd_mm.cli.exit_codes import run_command\n'
        "run_command(lambda: Path(sys.argv[1], 'gr\\u00f6\\u00dfe').write_text('\\u00e4'))\n"
    )
    folder = tmp_path / 'möbel'
    folder.mkdir()
    old = {'LC_ALL': 'C', 'PYTHONCOERCECLOCALE': '0', 'PYTHONUTF8': '0'}
    done = subprocess.run(
        [sys.executable, str(script), str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, 'PYTHONPATH': str(ROOT), **old},
    )
    assert (done.returncode, done.stderr) == (0, '')
    assert (folder / 'größe').read_bytes() == 'ä'.encode()


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
